-- Messages of one kind to one account, which are limited, and of which only the latest link is of use.
create index mail_deliveries_by_account on mail_deliveries (account_id, template, position);
