-- Who the processes are: a role that owns nothing and may only add to the log. Migrations and rebuilds, which make and
-- replace tables, go on as whoever logs in; give processes a login that is a member of this role alone, and nothing
-- that they run can rewrite history or do away with what forbids it.

do $$
begin
    create role capitune_app nologin;
exception
    -- Roles belong to the whole cluster: another database may have made it.
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise exception 'the role capitune_app is missing and may not be made by %', current_user
            using hint = 'as a superuser: create role capitune_app nologin; grant capitune_app to '
                || quote_ident(current_user);
end $$;

do $$
begin
    if not pg_has_role(current_user, 'capitune_app', 'member') then
        execute format('grant capitune_app to %I', current_user);
    end if;
end $$;

grant usage on schema public to capitune_app;
grant select, insert, update, delete on all tables in schema public to capitune_app;
grant usage on all sequences in schema public to capitune_app;
alter default privileges in schema public grant select, insert, update, delete on tables to capitune_app;
alter default privileges in schema public grant usage on sequences to capitune_app;
revoke update, delete on events from capitune_app;
revoke update on audit_heads from capitune_app;
revoke delete on audit_tiles, audit_keys, log_identity, person_keys from capitune_app;
revoke update on audit_keys from capitune_app;
-- Which migrations were applied is whoever applies them to write down.
revoke insert, update, delete on _sqlx_migrations from capitune_app;

-- Makes a read model what every one is: written by the processes, read by whom its policies show it to, and nobody else.
create procedure protect_read_model(model text) language plpgsql as $$
declare
    relation text;
begin
    execute format('grant usage on schema %I to capitune_app, capitune_reader', model);
    for relation in
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and n.nspname = model
    loop
        execute format('alter table %I.%I enable row level security, force row level security', model, relation);
        execute format('drop policy if exists projection on %I.%I', model, relation);
        execute format('create policy projection on %I.%I to capitune_app using (true) with check (true)',
            model, relation);
        execute format('grant select, insert, update, delete on %I.%I to capitune_app', model, relation);
        execute format('grant select on %I.%I to capitune_reader', model, relation);
    end loop;
end $$;

call protect_read_model('dossier');
call protect_read_model('account');
call protect_read_model('post');
call protect_read_model('live');
call protect_read_model('analytics');
call protect_read_model('organization');
call protect_read_model('mail');
-- What is to be mailed is nobody's to read.
revoke select on all tables in schema mail from capitune_reader;
revoke usage on schema mail from capitune_reader;
