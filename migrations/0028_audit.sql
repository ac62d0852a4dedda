-- Evidence that recorded history is as it was: a Merkle tree over the log (RFC 9162) and its signed heads.

-- The tree, in tiles: the hashes of up to 256 nodes, one after the other. Level 0 holds leaves, level n + 1 the roots of
-- whole tiles of level n.
create table audit_tiles (
    level smallint not null,
    index bigint not null,
    hashes bytea not null check (octet_length(hashes) between 32 and 8192 and octet_length(hashes) % 32 = 0),
    primary key (level, index)
);
-- Hashes do not compress.
alter table audit_tiles alter column hashes set storage external;

-- What heads are signed with, one after the other. A key is derived from its name and a secret that only the master key
-- opens.
create table audit_keys (
    id uuid primary key,
    active_from timestamptz not null default clock_timestamp()
);

create table audit_heads (
    size bigint primary key check (size > 0),
    root bytea not null check (octet_length(root) = 32),
    signed_at timestamptz not null,
    -- The note's id of the key: 4 bytes, big-endian.
    key_id bigint not null,
    signature bytea not null check (octet_length(signature) = 64)
);
create index on audit_heads (signed_at);

create function evidence_is_immutable() returns trigger language plpgsql as $$
begin
    raise exception 'signed tree heads are never changed';
end $$;
create trigger evidence_is_immutable before update or truncate on audit_heads
    for each statement execute function evidence_is_immutable();

-- Also where a session has switched off what replication need not repeat.
alter table events enable always trigger events_are_immutable;
alter table audit_heads enable always trigger evidence_is_immutable;
