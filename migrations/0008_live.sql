-- Live events and who registered for them. What organisers write is public; users are known by their ids alone.
create schema live;

create table live.lives (
    id uuid primary key,
    organization_id uuid not null,
    title text not null,
    title_sort text collate "C" not null generated always as (public.searchable(title)) stored,
    description text not null,
    time_zone text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    capacity bigint,
    stream_url text,
    status text not null,
    cancel_reason text,
    confirmed bigint not null,
    waiting bigint not null,
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check (confirmed >= 0 and waiting >= 0)
) with (fillfactor = 80);
create index lives_by_start on live.lives (starts_at, id);

-- `place` is confirmed, waitlisted or, once the event was called off, cancelled.
create table live.registrations (
    live_id uuid not null,
    user_id uuid not null,
    place text not null,
    -- The position of the event that made it: the order of those who wait.
    position bigint not null,
    registered_at timestamptz not null,
    primary key (live_id, user_id)
);
create index registrations_in_order on live.registrations (live_id, position, user_id);
