-- Figures about the whole way of a dossier, the community and live events. The projection has a new version with them,
-- and makes its rows anew.

alter table analytics.dossiers
    add column review_started_at timestamptz,
    add column outcome text,
    add column change_requests bigint not null default 0;

-- How often changes were asked for on a day (UTC), and why.
create table analytics.change_requests (
    day date not null,
    category text not null,
    reason text not null,
    requests bigint not null,
    primary key (day, category, reason)
) with (fillfactor = 50);

-- What the community did on a day (UTC).
create table analytics.community_days (
    day date primary key,
    posts bigint not null,
    comments bigint not null,
    likes bigint not null,
    unlikes bigint not null
) with (fillfactor = 50);

-- How each live event was taken up: how often seats and places on the waiting list were had, and given back.
create table analytics.live_events (
    id uuid primary key,
    organization_id uuid not null,
    status text not null,
    starts_at timestamptz not null,
    capacity bigint,
    version bigint not null,
    confirmed bigint not null,
    waitlisted bigint not null,
    cancelled bigint not null
) with (fillfactor = 50);

create policy readers on analytics.change_requests for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.community_days for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
create policy readers on analytics.live_events for select to capitune_reader
    using ((select reader_is('analyst', 'admin')));
call protect_read_model('analytics');

-- A count, unless so few are counted that somebody could be told from it.
create function shown(number bigint, smallest bigint) returns bigint language sql immutable parallel safe as $$
    select case when number = 0 or number >= smallest then number end
$$;
