-- What guards log-ins beside the password: waits after wrong guesses, second factors, and tokens for programs.

-- Wrong guesses of a secret in a row, by the keyed hash of whose secret it is and, for passwords, from which network.
create table guesses (
    bucket bytea primary key,
    wrong integer not null,
    last_at timestamptz not null default clock_timestamp(),
    -- Until then even a right one is refused.
    blocked_until timestamptz
);
create index on guesses (last_at);

-- Keyed hash of the account and the network that a session was begun from: whoever logged in from there before is not
-- shut out by those who guess from elsewhere.
alter table sessions add column network bytea;

-- One-time passwords by the clock (RFC 6238).
create table second_factors (
    account_id uuid primary key,
    -- Sealed for the account.
    secret json not null,
    -- Null until a first code proved that the device has the secret: nothing is asked for until then.
    confirmed_at timestamptz,
    -- The time step of the last code that was accepted: none is accepted twice.
    last_step bigint not null default 0
);

-- Keyed hashes of the codes that stand in for a lost device; deleted when used.
create table recovery_codes (
    account_id uuid not null,
    code bytea not null,
    primary key (account_id, code)
);

-- What programs act with in an account's name.
create table api_tokens (
    id uuid primary key,
    account_id uuid not null,
    -- What its owner calls it, sealed for the account.
    name json not null,
    -- Keyed hash of the token.
    token_hash bytea not null,
    scopes text[] not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    -- Kept to the minute.
    last_used_at timestamptz,
    revoked_at timestamptz
);
create index on api_tokens (account_id);
create index on api_tokens (expires_at);
