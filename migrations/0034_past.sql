-- What was to be seen in a list of dossiers, and when: one row for each stretch of the log in which nothing of it changed.
create schema past;

create table past.dossiers (
    id uuid not null,
    -- From this position on, and up to before that one; null while it lasts.
    valid_from bigint not null,
    valid_to bigint,
    from_at timestamptz not null,
    to_at timestamptz,
    owner_id uuid not null,
    organization_id uuid not null,
    category text not null,
    title text not null,
    title_sort text collate "C" not null generated always as (public.searchable(title)) stored,
    status text not null,
    origin text,
    reviewer_id uuid,
    archived boolean not null,
    version bigint not null,
    created_at timestamptz not null,
    primary key (id, valid_from)
);
create unique index dossiers_that_last on past.dossiers (id) where valid_to is null;
create index dossiers_by_creation on past.dossiers (created_at, id);
create index dossiers_by_title on past.dossiers (title_sort, id);

create policy readers on past.dossiers for select to capitune_reader using ((select reader_is('auditor')));
call protect_read_model('past');
