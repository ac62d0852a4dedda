//! Guessing gets slower: after some wrong guesses of a secret in a row even the right one has to wait, longer each time.

use std::sync::Arc;
use std::time::Duration;

use event_store::{Database, Vault};
use moka::sync::Cache;
use sqlx::PgPool;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::problem::{Problem, codes};
use crate::sweep::keep_swept;

/// Guessers that are made to queue, at most.
const QUEUES: u64 = 100_000;
/// Longer than this nobody queues.
const PATIENCE: Duration = Duration::from_secs(5);
const OLD: &str = "delete from guesses where bucket in (
    select bucket from guesses where last_at < clock_timestamp() - interval '1 day' limit 10000)";
/// The first wait and the longest one, in seconds.
const WAITS: (f64, f64) = (30.0, 900.0);

/// Wrong guesses, in the database, so that all nodes count together.
#[derive(Clone)]
pub struct Guesses {
    reads: PgPool,
    writes: PgPool,
    turns: Cache<Bucket, Arc<Mutex<()>>>,
}

/// What wrong guesses are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    hash: [u8; 32],
    /// Wrong guesses in a row that cost nothing but the last.
    free: i32,
}

impl Bucket {
    /// The guesses of one secret that are counted together, `free` of which cost nothing.
    pub fn new(vault: &Vault, whose: &[&[u8]], free: i32) -> Self {
        Self { hash: vault.keyed_hash("guesses", &whose.join(&b'\n')), free }
    }
}

impl Guesses {
    /// The guesses in this database.
    pub fn new(database: &Database) -> Self {
        let turns = Cache::builder().max_capacity(QUEUES).time_to_idle(PATIENCE * 4).build();
        Self { reads: database.reads.clone(), writes: database.writes.clone(), turns }
    }

    /// Waits for one's turn: guesses of one bucket are judged one after the other, so that many at once are no more
    /// than many in a row. It lasts as long as what is given back.
    ///
    /// # Errors
    /// A 503 when too many wait.
    pub async fn turn(&self, bucket: &Bucket) -> Result<OwnedMutexGuard<()>, Problem> {
        let turn = self.turns.get_with(*bucket, Arc::default).lock_owned();
        timeout(PATIENCE, turn).await.map_err(|_| Problem::new(&codes::AUTH_BUSY).with_retry_after(1))
    }

    /// Whether another guess may be made in all these buckets.
    ///
    /// # Errors
    /// A 429 that says how long to wait, a 503 when the database does not answer.
    pub async fn check(&self, buckets: &[Bucket]) -> Result<(), Problem> {
        let wait: Option<i32> = sqlx::query_scalar(
            "select ceil(extract(epoch from max(blocked_until) - clock_timestamp()))::integer from guesses
             where bucket = any($1) and blocked_until > clock_timestamp()",
        )
        .bind(buckets.iter().map(|bucket| bucket.hash.to_vec()).collect::<Vec<_>>())
        .fetch_one(&self.reads)
        .await?;
        let refused = |wait: i32| Problem::new(&codes::AUTH_TOO_MANY_ATTEMPTS).with_retry_after(wait.unsigned_abs());
        wait.map_or(Ok(()), |wait| Err(refused(wait)))
    }

    /// Counts a wrong guess in each of these buckets.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn wrong(&self, buckets: &[Bucket]) -> Result<(), Problem> {
        sqlx::query(
            "insert into guesses as g (bucket, wrong)
             select bucket, 1 from unnest($1::bytea[]) as u (bucket) order by bucket
             on conflict (bucket) do update
             set wrong = g.wrong + 1, last_at = clock_timestamp(),
                 blocked_until = (
                     select clock_timestamp() + make_interval(secs => least($4, $3 * power(2, least(over, 20))))
                     from (select g.wrong + 1 - free as over from unnest($1::bytea[], $2::integer[]) as u (bucket, free)
                           where u.bucket = g.bucket) as counted
                     where over >= 0)",
        )
        .bind(buckets.iter().map(|bucket| bucket.hash.to_vec()).collect::<Vec<_>>())
        .bind(buckets.iter().map(|bucket| bucket.free).collect::<Vec<_>>())
        .bind(WAITS.0)
        .bind(WAITS.1)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// Forgets the wrong guesses of who guessed right at last.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn right(&self, bucket: &Bucket) -> Result<(), Problem> {
        let known: bool = sqlx::query_scalar("select exists (select from guesses where bucket = $1)")
            .bind(bucket.hash.as_slice())
            .fetch_one(&self.reads)
            .await?;
        if known {
            let delete = "delete from guesses where bucket = $1";
            sqlx::query(delete).bind(bucket.hash.as_slice()).execute(&self.writes).await?;
        }
        Ok(())
    }

    /// Forgets, now and then until `stop`, the guesses of a day ago.
    pub fn keep_swept(&self, stop: CancellationToken) {
        keep_swept(self.writes.clone(), "guesses", OLD, stop);
    }
}
