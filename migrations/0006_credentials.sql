-- Secrets, which never enter an event: password hashes, and sessions with the hash of their refresh token.

-- Written before the account is registered, under its new id: a row without an account is harmless.
create table credentials (
    account_id uuid primary key,
    -- PHC string.
    password_hash text not null,
    changed_at timestamptz not null default clock_timestamp()
);

-- One row per log-in. It lives 30 days, however often its refresh token is rotated.
create table sessions (
    id uuid primary key,
    account_id uuid not null,
    -- Keyed hash of the one refresh token that is good now.
    refresh_hash bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);
create index sessions_of_account on sessions (account_id);
create index sessions_by_expiry on sessions (expires_at);
