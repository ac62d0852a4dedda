//! For `make sabotage` alone: positions in the order in which they were asked for, not in that of the commits.

use sqlx::{ConnectOptions, Executor};

use crate::{Database, StoreError};

/// Lets the append take its positions from a sequence, without the lock that orders it by its commit.
pub(crate) async fn number_without_the_lock(database: &Database) -> Result<(), StoreError> {
    const UNORDERED: &str = "
        select pg_advisory_xact_lock(0);
        create sequence if not exists unordered_positions minvalue 0 start 0;
        create or replace function unordered_positions(events int) returns bigint language plpgsql as $$
        declare last bigint;
        begin
            perform pg_advisory_lock(1);
            select setval('unordered_positions', last_value + events) into last from unordered_positions;
            perform pg_advisory_unlock(1);
            return last;
        end $$;
        do $$
        declare append text := pg_get_functiondef('append_batch'::regproc);
        begin
            append := replace(append, 'perform pg_advisory_xact_lock(4701966823);', '');
            append := replace(append, 'head := coalesce(head, 0);',
                'head := unordered_positions(cardinality(e_command)) - cardinality(e_command);');
            execute append;
        end $$";
    database.owner_options().connect().await?.execute(UNORDERED).await?;
    Ok(())
}
