-- Rebuilds, as every node sees them: how far they are, whether they are still wanted, and what there is to go back to.

create table projection_rebuilds (
    projection text primary key,
    status text not null default 'running' check (status in ('running', 'finished', 'failed', 'cancelled')),
    -- What made its rows, and of what: nobody else goes on with them.
    build text,
    version integer,
    log_id uuid,
    generation integer,
    done bigint not null default 0,
    total bigint not null default 0,
    reason text,
    started_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);

-- The rows that were replaced, kept for a while in a schema of their own, and where each of their partitions stood.
create table projection_retired (
    projection text primary key,
    version integer not null,
    log_id uuid not null,
    generation integer not null,
    positions bigint[] not null,
    retired_at timestamptz not null default clock_timestamp()
);

-- What the last verification in the background found.
create table projection_verifications (
    projection text primary key,
    position bigint not null,
    rows bigint not null,
    drifted bigint not null,
    drift text,
    verified_at timestamptz not null default clock_timestamp()
);
