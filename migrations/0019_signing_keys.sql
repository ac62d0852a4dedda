-- The keys that access tokens are signed with, one after the other. Only their names are here: a key is derived from its
-- name and a secret that only the master key opens.
create table signing_keys (
    id uuid primary key,
    -- Published before: who verifies tokens elsewhere has the key by then.
    active_from timestamptz not null,
    -- Tokens of a revoked key are refused at once.
    revoked_at timestamptz
);
