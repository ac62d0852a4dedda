-- What analysts read: figures and changes, nothing personal.
create schema analytics;

-- Where each dossier stands, so that the next event can be counted.
create table analytics.dossiers (
    id uuid primary key,
    organization_id uuid not null,
    category text not null,
    status text not null,
    origin text,
    since timestamptz not null,
    reviewer_id uuid,
    archived boolean not null,
    version bigint not null,
    created_at timestamptz not null,
    submitted_at timestamptz,
    decided_at timestamptz
) with (fillfactor = 80);
create index dossiers_by_status on analytics.dossiers (status);

-- How many dossiers entered a status on a day (UTC).
create table analytics.status_days (
    day date not null,
    status text not null,
    category text not null,
    entered bigint not null,
    primary key (day, status, category)
) with (fillfactor = 50);

-- How long dossiers stayed in a status, counted when they left it.
create table analytics.status_durations (
    status text not null,
    category text not null,
    stays bigint not null,
    total_ms bigint not null,
    primary key (status, category)
) with (fillfactor = 50);

-- How often each reviewer decided, by outcome.
create table analytics.reviewer_decisions (
    reviewer_id uuid not null,
    outcome text not null,
    decisions bigint not null,
    primary key (reviewer_id, outcome)
) with (fillfactor = 50);

-- Accounts registered on a day (UTC).
create table analytics.registration_days (
    day date primary key,
    registered bigint not null
) with (fillfactor = 50);

-- The last change of each thing, at the position of the event that made it.
create table analytics.changes (
    kind text not null,
    id uuid not null,
    position bigint not null,
    change text not null check (change in ('upsert', 'tombstone')),
    data json,
    primary key (kind, id)
) with (fillfactor = 80);
create unique index changes_by_position on analytics.changes (position);
