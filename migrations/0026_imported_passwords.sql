-- Whether there are passwords left that were hashed elsewhere, which is asked now and then.
create index credentials_by_bcrypt on credentials (account_id) where password_hash like '$2%';
