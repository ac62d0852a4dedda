-- How far each place outside the database has got that keeps signed heads. Places are named by a keyed hash: their
-- addresses may hold secrets.
create table audit_witnesses (
    id bytea primary key,
    -- The newest head that it has accepted.
    size bigint not null default 0,
    -- Whoever may try next has waited since.
    tried_at timestamptz
);
