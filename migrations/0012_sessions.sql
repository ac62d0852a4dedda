-- From where a session was begun, and when it was used last.
alter table sessions
    -- Client address and user agent, sealed for the account.
    add column client json,
    -- Kept to the minute.
    add column last_used_at timestamptz not null default clock_timestamp();
