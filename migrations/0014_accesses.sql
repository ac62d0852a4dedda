-- Who got in, who was refused, whose rights changed, and who read or took out what: rows with a retention, no events.
create table accesses (
    -- In the order of time.
    id uuid primary key,
    at timestamptz not null default clock_timestamp(),
    action text not null,
    -- The person concerned, who may see the row; null when no account was.
    account_id uuid,
    -- Who did it; null when that was not proved.
    actor_id uuid,
    resource_type text,
    resource_id uuid,
    -- The code of the problem that it was refused with; null when it was done.
    refusal text,
    -- What else there is to say; never personal.
    detail json,
    -- Client address and user agent, sealed for the actor, or else for the person concerned.
    client json,
    request_id text not null
);
create index on accesses (account_id, id);
create index on accesses (actor_id, id);
create index on accesses (resource_id, id);
