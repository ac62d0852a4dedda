//! Group commit: one task per process drains the queue, and whatever queued while the last batch was committing goes
//! into the next.

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::ErrorKind;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use crate::append::{Append, Appended, Refusal};
use crate::batch::{self, Expected};
use crate::{APPENDED, Continuity, Database, StoreError};

/// Commands in one batch, at most.
const MAX_BATCH: usize = 512;
/// Commands waiting for a batch, at most; beyond it callers wait in turn.
const QUEUE: usize = 8192;
/// How long Postgres may work on one batch.
const STATEMENT_TIMEOUT: &str = "8s";
/// How long a round trip may take, after which the connection counts as lost.
const ROUND_TRIP: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_secs(1);
/// Announcements closer together than this are made once.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(2);
/// The same once as many events as this came since the last one: whoever is woken has its hands full.
const BUSY: u64 = 8;
const BUSY_EVERY: Duration = Duration::from_millis(10);

/// What became of an append.
pub(crate) type Outcome = Result<Appended, Refusal>;

pub(crate) struct Queued {
    pub(crate) append: Append,
    reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// The queue's end that callers hold.
pub(crate) struct Appender {
    queue: mpsc::Sender<Queued>,
}

/// An append that stands in the queue, in its place.
pub struct PendingAppend {
    deadline: Instant,
    reply: oneshot::Receiver<Result<Outcome, StoreError>>,
}

impl PendingAppend {
    /// Waits for the commit.
    ///
    /// # Errors
    /// As [`EventStore::append`](crate::EventStore::append).
    pub async fn committed(self) -> Result<Outcome, StoreError> {
        match timeout_at(self.deadline, self.reply).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(StoreError::OutcomeUnknown),
        }
    }
}

impl Appender {
    pub(crate) fn start(database: &Database, continuity: Arc<Continuity>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (announce, announced) = watch::channel(0);
        // Statistics of a young table must not tempt the planner, once and for the whole session, into a scan.
        let options = database.connect_options().options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ]);
        tokio::spawn(announce_commits(options.clone().options([("synchronous_commit", "off")]), announced));
        tokio::spawn(Writer { options, connection: None, continuity, written: None, announce }.run(waiting));
        Self { queue }
    }

    pub(crate) async fn enqueue(&self, append: Append) -> Result<PendingAppend, StoreError> {
        let deadline = append.deadline;
        if deadline <= Instant::now() {
            return Err(StoreError::Unavailable("the deadline passed before the append".to_owned()));
        }
        let (reply, receiver) = oneshot::channel();
        let unavailable = || StoreError::Unavailable("the append queue is full".to_owned());
        let sent = timeout_at(deadline, self.queue.send(Queued { append, reply })).await;
        sent.map_err(|_| unavailable())?.map_err(|_| unavailable())?;
        Ok(PendingAppend { deadline, reply: receiver })
    }
}

/// Why a batch was not applied as a whole.
enum Failure {
    /// Postgres refuses something in it; the rest may stand.
    Content(String),
    /// The database could not take it now.
    Transient(StoreError),
    /// The log does not hold an event that this process had seen committed.
    Lost,
}

struct Writer {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    continuity: Arc<Continuity>,
    /// The last event that this process wrote, by position and id.
    written: Option<(u64, Uuid)>,
    announce: watch::Sender<u64>,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Queued>) {
        let mut queued = Vec::with_capacity(MAX_BATCH);
        while waiting.recv_many(&mut queued, MAX_BATCH).await > 0 {
            // Callers that were answered just now get their turn to queue again, and share one batch.
            yield_now().await;
            while queued.len() < MAX_BATCH
                && let Ok(next) = waiting.try_recv()
            {
                queued.push(next);
            }
            self.commit(std::mem::take(&mut queued)).await;
        }
    }

    /// Commits a batch, split in two as long as Postgres refuses its content, so that the culprit ends up alone.
    async fn commit(&mut self, batch: Vec<Queued>) {
        let mut todo = vec![batch];
        let mut pause = RETRY_FIRST;
        while let Some(batch) = todo.pop() {
            let mut batch = admit(batch, self.continuity.losses());
            if batch.is_empty() {
                continue;
            }
            #[cfg(feature = "sabotage-answer-before-commit")]
            self.answer_early(&mut batch).await;
            match self.try_commit(&batch).await {
                Ok(outcomes) => self.settle(batch, outcomes),
                Err(Failure::Content(reason)) if batch.len() == 1 => {
                    for queued in batch {
                        fail(queued, StoreError::Invalid(reason.clone()));
                    }
                }
                Err(Failure::Content(_)) => {
                    let second = batch.split_off(batch.len() / 2);
                    todo.extend([second, batch]);
                }
                Err(Failure::Transient(error)) => {
                    tracing::warn!(%error, commands = batch.len(), "a batch could not be appended; trying again");
                    self.connection = None;
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MOST);
                    todo.push(batch);
                }
                // What was decided on lost events is refused, and decided again.
                Err(Failure::Lost) => todo.push(batch),
            }
        }
    }

    /// For `make sabotage` alone: answers what is not committed yet, and takes its time to commit.
    #[cfg(feature = "sabotage-answer-before-commit")]
    async fn answer_early(&mut self, batch: &mut [Queued]) {
        let Ok(connection) = self.connected().await else { return };
        let head = sqlx::query_scalar("select coalesce(max(position), 0) from events").fetch_one(connection).await;
        let mut head = head.map_or(0, i64::cast_unsigned);
        for queued in batch {
            let append = &queued.append;
            head += append.events.len() as u64;
            let position = if append.events.is_empty() { append.unchanged_position } else { head };
            let version = append.expected_version + append.events.len() as u64;
            let reply = std::mem::replace(&mut queued.reply, oneshot::channel().0);
            let _ = reply.send(Ok(Ok(Appended { version, position })));
        }
        sleep(Duration::from_millis(10)).await;
    }

    async fn try_commit(&mut self, batch: &[Queued]) -> Result<Vec<Outcome>, Failure> {
        let id = Uuid::now_v7();
        let seen = self.continuity.newest();
        let own = seen.is_some() && seen == self.written;
        let mut expected = Expected { seen, unchecked: own && batch.iter().all(|queued| queued.append.known) };
        let connection = self.connected().await.map_err(Failure::Transient)?;
        let started = Instant::now();
        let mut result = in_time(batch::append(connection, id, expected, batch)).await;
        if expected.unchecked && result.as_ref().is_err_and(is_unique_violation) {
            // Somebody was wrong about a stream, a key or a claim; which one, only the checks can tell.
            expected.unchecked = false;
            result = in_time(batch::append(connection, id, expected, batch)).await;
        }
        metrics::histogram!("capitune_append_seconds").record(started.elapsed().as_secs_f64());
        metrics::histogram!("capitune_append_batch_commands").record(batch.len() as f64);
        match result {
            Ok(Some(settled)) => {
                if let Some((position, event_id)) = settled.head {
                    self.continuity.saw(position, event_id);
                    self.written = settled.head;
                }
                Ok(settled.outcomes)
            }
            Ok(None) => {
                seen.into_iter().for_each(|seen| self.continuity.lost(seen));
                Err(Failure::Lost)
            }
            // An answer by the server is an aborted transaction: nothing was applied.
            Err(sqlx::Error::Database(error)) if is_content(error.code().as_deref()) => {
                Err(Failure::Content(format!("database error {}", error.code().unwrap_or_default())))
            }
            Err(error @ sqlx::Error::Database(_)) => Err(Failure::Transient(error.into())),
            Err(error) => {
                tracing::warn!(%error, "the connection was lost in mid-append; finding out what was applied");
                self.connection = None;
                self.resolve(id, batch).await
            }
        }
    }

    /// Settles an unknown outcome by inserting the batch's own id: a violation means applied, success means never.
    async fn resolve(&mut self, id: Uuid, batch: &[Queued]) -> Result<Vec<Outcome>, Failure> {
        let mut pause = RETRY_FIRST;
        loop {
            match self.try_resolve(id, batch).await {
                Ok(Some(outcomes)) => return Ok(outcomes),
                Ok(None) => {
                    return Err(Failure::Transient(StoreError::Unavailable("connection lost".to_owned())));
                }
                Err(error) => {
                    tracing::warn!(%error, "the outcome of a batch is still unknown");
                    self.connection = None;
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MOST);
                }
            }
        }
    }

    async fn try_resolve(&mut self, id: Uuid, batch: &[Queued]) -> Result<Option<Vec<Outcome>>, StoreError> {
        let connection = self.connected().await?;
        match in_time(batch::forestall(connection, id)).await? {
            true => Ok(None),
            false => Ok(Some(in_time(batch::look_up(connection, batch)).await?)),
        }
    }

    async fn connected(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => in_time(self.options.connect()).await?,
        };
        Ok(self.connection.insert(connection))
    }

    fn settle(&self, batch: Vec<Queued>, outcomes: Vec<Outcome>) {
        let mut head = 0;
        for (queued, outcome) in batch.into_iter().zip(outcomes) {
            match &outcome {
                Ok(appended) => head = head.max(appended.position),
                Err(_) => queued.append.lineage.break_off(),
            }
            // A caller that gave up needs no answer.
            let _ = queued.reply.send(Ok(outcome));
        }
        self.announce.send_if_modified(|announced| {
            let ahead = head > *announced;
            *announced = head.max(*announced);
            ahead
        });
    }
}

/// A peer that went silent without closing the connection must not stop all writes.
async fn in_time<T>(round_trip: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let silent = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    timeout(ROUND_TRIP, round_trip).await.unwrap_or_else(|_| Err(silent()))
}

/// Lets into the batch what may still be applied, and answers the rest. What was decided before the last loss may rest on
/// lost events.
fn admit(batch: Vec<Queued>, losses: u64) -> Vec<Queued> {
    let now = Instant::now();
    let mut admitted = Vec::with_capacity(batch.len());
    for queued in batch {
        if queued.append.losses != losses {
            queued.append.lineage.break_off();
        }
        if queued.append.lineage.is_broken() {
            let _ = queued.reply.send(Ok(Err(Refusal::Conflict)));
        } else if queued.append.deadline <= now {
            fail(queued, StoreError::Unavailable("the deadline passed in the queue".to_owned()));
        } else {
            admitted.push(queued);
        }
    }
    admitted
}

fn fail(queued: Queued, error: StoreError) {
    queued.append.lineage.break_off();
    let _ = queued.reply.send(Err(error));
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.kind() == ErrorKind::UniqueViolation)
}

/// Data exceptions, constraint violations, and limits exceeded: trying again cannot help.
fn is_content(code: Option<&str>) -> bool {
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// Announces new heads after their commit, on a connection of its own: a `NOTIFY` inside the append would take a lock
/// on the whole database.
async fn announce_commits(options: PgConnectOptions, mut head: watch::Receiver<u64>) {
    let mut connection: Option<PgConnection> = None;
    let mut last = 0;
    while head.changed().await.is_ok() {
        let position = *head.borrow_and_update();
        if let Err(error) = announce(&options, &mut connection, position).await {
            // Readers poll as well; a lost announcement costs freshness only.
            tracing::debug!(%error, "a new head could not be announced");
            connection = None;
        }
        sleep(if position < last + BUSY { ANNOUNCE_EVERY } else { BUSY_EVERY }).await;
        last = position;
    }
    if let Some(connection) = connection {
        let _ = connection.close().await;
    }
}

async fn announce(
    options: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    position: u64,
) -> Result<(), sqlx::Error> {
    let open = match connection.take() {
        Some(open) => open,
        None => options.connect().await?,
    };
    let open = connection.insert(open);
    sqlx::query("select pg_notify($1, $2)").bind(APPENDED).bind(position.to_string()).execute(open).await?;
    Ok(())
}
