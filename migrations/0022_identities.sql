-- Who people are at other providers (OpenID Connect).
create table identities (
    id uuid primary key,
    account_id uuid not null,
    provider text not null,
    -- Keyed hash of issuer and subject: the provider's name for them is not kept.
    subject bytea not null unique,
    created_at timestamptz not null default clock_timestamp()
);
create unique index on identities (account_id, provider);

-- Log-ins that are under way at a provider; each is good once, for ten minutes.
create table identity_flows (
    id uuid primary key,
    provider text not null,
    -- The account that asked to be linked; null for a log-in.
    account_id uuid,
    begun_at timestamptz not null default clock_timestamp()
);
create index on identity_flows (begun_at);
