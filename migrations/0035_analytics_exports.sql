-- Tables that analysts have asked for as files: made in the background, by whichever process is at it.
create table analytics_exports (
    id uuid primary key,
    owner_id uuid not null,
    organization_id uuid not null,
    read_model text not null,
    format text not null,
    first_day date not null,
    last_day date not null,
    status text not null default 'running' check (status in ('running', 'finished', 'failed')),
    -- Whoever takes it up after a process that died counts one further, and is the only one that writes its end.
    attempt integer not null default 1,
    rows bigint,
    bytes bigint,
    sha256 text,
    -- How far the read model was.
    position bigint,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
create index on analytics_exports (owner_id, id);
