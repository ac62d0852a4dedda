-- Pictures of people: small, sealed by their own keys, and replaced as a whole.
create table avatars (
    account_id uuid primary key,
    image json not null,
    -- By which a client knows it again.
    etag text not null
);

alter table account.accounts add column avatar boolean not null default false;

-- When each account uploaded something last, which it may do so many times a second.
create unlogged table uploads (
    account_id uuid primary key,
    at timestamptz not null
);
create index on uploads (at);
