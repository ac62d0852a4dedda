-- The second wall around read models: whoever reads them is a role that owns nothing, and sees the rows that these
-- policies show to one reader. They mirror `domain/src/access.rs`, which asks first and knows more: what of a row may be
-- seen, and what may be done. Without a reader there are no rows.

do $$
begin
    create role capitune_reader nologin;
exception
    -- Roles belong to the whole cluster: another database may have made it.
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise exception 'the role capitune_reader is missing and may not be made by %', current_user
            using hint = 'as a superuser: create role capitune_reader nologin; grant capitune_reader to '
                || quote_ident(current_user);
end $$;

do $$
begin
    if not pg_has_role(current_user, 'capitune_reader', 'member') then
        execute format('grant capitune_reader to %I', current_user);
    end if;
end $$;

-- Who reads, as the connection was told.
create function reader() returns uuid language sql stable as
    $$ select nullif(current_setting('capitune.reader', true), '')::uuid $$;
-- The organisation in which they act.
create function reader_organization() returns uuid language sql stable as
    $$ select nullif(current_setting('capitune.organization', true), '')::uuid $$;
-- Whether they have one of these roles.
create function reader_is(variadic roles text[]) returns boolean language sql stable as
    $$ select reader() is not null and string_to_array(current_setting('capitune.roles', true), ',') && roles $$;

-- Made by name and not by dependency, since a rebuild replaces the schema: the organisation of a live event that the
-- reader sees.
create function organization_of_live(live_id uuid) returns uuid language plpgsql stable as
    $$ begin return (select organization_id from live.lives where id = live_id); end $$;

create policy readers on dossier.dossiers for select to capitune_reader using (
    (select reader_is('auditor'))
    or status <> 'discarded' and (
        owner_id = (select reader())
        or (select reader_is('admin'))
        or (select reader_is('pro')) and (
            reviewer_id = (select reader())
            or reviewer_id is null and submitted_at is not null
                and organization_id = (select reader_organization()))));

create policy readers on account.accounts for select to capitune_reader using ((select reader() is not null));

create policy readers on post.posts for select to capitune_reader using (
    (select reader() is not null) and body is not null);
create policy readers on post.comments for select to capitune_reader using ((select reader() is not null));
create policy readers on post.likes for select to capitune_reader using (user_id = (select reader()));

create policy readers on live.lives for select to capitune_reader using (
    (select reader() is not null) and status <> 'draft'
    or (select reader_is('admin'))
    or (select reader_is('organizer')) and organization_id = (select reader_organization()));
create policy readers on live.registrations for select to capitune_reader using (
    user_id = (select reader())
    or (select reader_is('admin'))
    or (select reader_is('organizer')) and organization_of_live(live_id) = (select reader_organization()));

create policy readers on analytics.dossiers for select to capitune_reader using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.status_days for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.status_durations for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.reviewer_decisions for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.registration_days for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.changes for select to capitune_reader using ((select reader_is('analyst', 'admin')));

-- Every table of every read model: forced, which binds its owner too; projections write as whoever migrates.
do $$
declare
    model record;
begin
    for model in
        select n.nspname as schema, c.relname as name
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and n.nspname in ('dossier', 'account', 'post', 'live', 'analytics', 'mail')
    loop
        execute format('alter table %I.%I enable row level security, force row level security',
            model.schema, model.name);
        execute format('create policy projection on %I.%I to current_user using (true) with check (true)',
            model.schema, model.name);
        if model.schema <> 'mail' then
            execute format('grant usage on schema %I to capitune_reader', model.schema);
            execute format('grant select on %I.%I to capitune_reader', model.schema, model.name);
        end if;
    end loop;
end $$;

grant select on checkpoints to capitune_reader;
