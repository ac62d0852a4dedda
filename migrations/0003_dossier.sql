-- The dossier as its owner, its pro and an auditor see it. Personal values are sealed.

-- A text as it is searched and sorted: without case and accents, whatever the database's own collation.
create function searchable(content text) returns text language sql immutable parallel safe as $$
    select lower(translate(normalize(content),
        'ÀÁÂÃÄÅàáâãäåÇçÈÉÊËèéêëÌÍÎÏìíîïÑñÒÓÔÕÖØòóôõöøÙÚÛÜùúûüÝýÿŸ',
        'AAAAAAaaaaaaCcEEEEeeeeIIIIiiiiNnOOOOOOooooooUUUUuuuuYyyY'))
$$;

create schema dossier;

create table dossier.dossiers (
    id uuid primary key,
    owner_id uuid not null,
    organization_id uuid not null,
    category text not null,
    title text not null,
    title_sort text collate "C" not null generated always as (public.searchable(title)) stored,
    description json,
    fields json not null,
    status text not null,
    -- Where a cancelled change request returns to.
    origin text,
    reviewer_id uuid,
    open_change_request json,
    decision json,
    archived boolean not null,
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    submitted_at timestamptz,
    decided_at timestamptz
);

create index dossiers_by_creation on dossier.dossiers (created_at, id);
create index dossiers_by_update on dossier.dossiers (updated_at, id);
create index dossiers_by_title on dossier.dossiers (title_sort, id);
create index dossiers_of_owner on dossier.dossiers (owner_id, created_at, id);
create index dossiers_of_reviewer on dossier.dossiers (reviewer_id, created_at, id) where reviewer_id is not null;
create index dossiers_unassigned on dossier.dossiers (organization_id, created_at, id)
    where reviewer_id is null and submitted_at is not null;
