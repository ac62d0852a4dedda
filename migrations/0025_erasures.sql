-- Raised with every erasure, so that every process learns soon that there was one.
alter table log_identity add column erasures bigint not null default 0;
create index on person_keys (erased_at) where erased_at is not null;
