-- How far each projection has come, and which worker carries it on.

-- One row per partition. A position means that all the partition's events up to it are applied. Rows of another log,
-- generation or version, and rows ahead of the log, are never believed: the projection is rebuilt.
create table checkpoints (
    projection text not null,
    partition integer not null check (partition >= 0),
    version integer not null,
    log_id uuid not null,
    generation integer not null,
    position bigint not null default 0 check (position >= 0),
    -- Raised by each take-over and each rebuild: whoever still holds an older one changes nothing.
    epoch bigint not null default 0,
    status text not null default 'running' check (status in ('running', 'failed')),
    failure text,
    primary key (projection, partition)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Beside the checkpoints, so that a heartbeat never waits for a batch.
create table projection_leases (
    projection text not null,
    partition integer not null,
    owner uuid,
    lease_until timestamptz,
    primary key (projection, partition)
) with (fillfactor = 20);

-- Who could hold leases: partitions are shared out evenly over them.
create table projection_workers (
    projection text not null,
    worker uuid not null,
    version integer not null,
    alive_until timestamptz not null,
    primary key (projection, worker)
);
