-- Organisations and who belongs to them. An organisation's name is clear; members are known by their ids alone.
create schema organization;

create table organization.organizations (
    id uuid primary key,
    name text not null,
    kind text not null,
    -- The roles that it defined itself: their permissions by their names.
    roles jsonb not null default '{}',
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

-- Who belongs to an organisation, for all who do.
create table organization.members (
    organization_id uuid not null,
    user_id uuid not null,
    role text not null,
    joined_at timestamptz not null,
    -- The position of the event that made it.
    position bigint not null,
    primary key (organization_id, user_id)
);
create index members_in_order on organization.members (organization_id, position, user_id);

-- Where somebody belongs, for themselves: the same rows, in a table of its own because what members may see depends on
-- it.
create table organization.memberships (
    user_id uuid not null,
    organization_id uuid not null,
    role text not null,
    position bigint not null,
    primary key (user_id, organization_id)
);
create index memberships_in_order on organization.memberships (user_id, position desc);

-- By what an invitation is found by whom it is for. The address itself is sealed in the log.
create table invitations (
    id uuid primary key,
    organization_id uuid not null,
    address_hash bytea not null,
    expires_at timestamptz not null
);
create index on invitations (address_hash);
create index on invitations (expires_at);

-- Where a session and a token act; where their account does when null.
alter table sessions add column organization_id uuid;
alter table api_tokens add column organization_id uuid;

-- Made by name and not by dependency, since a rebuild replaces the schema.
create function organizations_of_reader() returns setof uuid language plpgsql stable as
    $$ begin return query select organization_id from organization.memberships where user_id = reader(); end $$;

create policy readers on organization.organizations for select to capitune_reader using (
    (select reader_is('admin')) or id in (select organizations_of_reader()));
create policy readers on organization.members for select to capitune_reader using (
    (select reader_is('admin')) or organization_id in (select organizations_of_reader()));
create policy readers on organization.memberships for select to capitune_reader using (user_id = (select reader()));

do $$
declare
    model text;
begin
    foreach model in array array['organizations', 'members', 'memberships'] loop
        execute format('alter table organization.%I enable row level security, force row level security', model);
        execute format('create policy projection on organization.%I to current_user using (true) with check (true)',
            model);
        execute format('grant select on organization.%I to capitune_reader', model);
    end loop;
end $$;
grant usage on schema organization to capitune_reader;

-- A pro reviews for the organisation in which they act, also what is assigned to them.
drop policy readers on dossier.dossiers;
create policy readers on dossier.dossiers for select to capitune_reader using (
    (select reader_is('auditor'))
    or status <> 'discarded' and (
        owner_id = (select reader())
        or (select reader_is('admin'))
        or (select reader_is('pro')) and organization_id = (select reader_organization())
            and (reviewer_id = (select reader()) or reviewer_id is null and submitted_at is not null)));
