-- Who asked to be forgotten. Written before anything is erased, so that an erasure that was interrupted is finished; it
-- stays, so that a restored backup can be made to forget them again.
create table erasures (
    person_id uuid primary key,
    requested_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);
create index on erasures (requested_at) where finished_at is null;
