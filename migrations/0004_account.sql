-- Who has an account. Personal values are sealed; secrets live elsewhere.
create schema account;

create table account.accounts (
    id uuid primary key,
    organization_id uuid not null,
    email json not null,
    name json not null,
    locale text not null,
    roles text[] not null,
    status text not null,
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
) with (fillfactor = 85);

create index accounts_by_creation on account.accounts (created_at, id);
