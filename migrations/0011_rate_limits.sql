-- How many requests of a minute the nodes have taken for one caller, in blocks. Not logged: a crash forgets a minute.
create unlogged table rate_limits (
    -- Keyed hash of who is counted.
    bucket bytea not null,
    -- Minutes since 1970.
    minute bigint not null,
    taken integer not null,
    primary key (bucket, minute)
);
create index on rate_limits (minute);
