-- Which messages events call for. Neither address nor text is kept: both are read when a message is sent.
create schema mail;

create table mail.outbox (
    position bigint not null,
    template text not null,
    account_id uuid not null,
    recorded_at timestamptz not null,
    primary key (position, template)
);
create index outbox_by_time on mail.outbox (recorded_at);

-- What became of them. In `public`: a rebuild of the outbox must not send anything again.
create table mail_deliveries (
    position bigint not null,
    template text not null,
    account_id uuid not null,
    -- due, sent, failed, or needless: what it was for had passed.
    status text not null default 'due',
    attempts integer not null default 0,
    -- Until then one sender is at it, or all wait.
    next_attempt_at timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default clock_timestamp(),
    -- A class such as `refused` or `timeout`; never what a server said, which may repeat an address.
    last_error text,
    primary key (position, template)
);
create index on mail_deliveries (next_attempt_at) where status = 'due';
