-- What projections hold back: an event that cannot be applied, and all later events of its partition key behind it.

create table projection_failures (
    id uuid primary key,
    projection text not null,
    partition integer not null,
    partition_key uuid not null,
    aggregate_type text not null,
    aggregate_id uuid not null,
    -- The first event that is held back.
    position bigint not null,
    event_type text not null,
    reason text not null,
    failed_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 1,
    tried_at timestamptz not null default clock_timestamp(),
    unique (projection, partition_key)
);
grant select (projection, partition_key, position) on projection_failures to capitune_reader;

-- The lowest position that is held back in the partition: readers look no further while there is none.
alter table checkpoints add column held_from bigint;

-- How far the rows of one partition key are, and from which position on some of them are held back.
create function checkpoint_of(model text, part integer, key uuid) returns table (checkpoint bigint, held_from bigint)
language sql stable parallel safe as $$
    select c.position, case when c.held_from is not null then (
        select min(f.position) from public.projection_failures f where f.projection = model and f.partition_key = key) end
    from public.checkpoints c where c.projection = model and c.partition = part
$$;

-- The same of all its rows.
create function checkpoint_of(model text) returns table (checkpoint bigint, held_from bigint)
language sql stable parallel safe as $$
    select min(c.position), min(c.held_from) from public.checkpoints c where c.projection = model
$$;
