//! The sealer follows the log: it adds what was appended to the tree and signs the tree's new head.

use std::time::Duration;

use sqlx::{Acquire, PgConnection};
use tokio::time::{MissedTickBehavior, interval};

use super::head::{SignedHead, TreeHead};
use super::tiles::Edge;
use super::{AuditKey, heads, keys, stored};
use crate::{EventStore, StoreError};

const EVERY: Duration = Duration::from_secs(1);
/// Events that one transaction seals, at most.
const CHUNK: u64 = 20_000;
/// The advisory lock of the one that seals.
const LOCK: i64 = 4_701_966_825;
/// Events that no head covers yet.
const UNSEALED: &str = "capitune_audit_unsealed_events";
/// 1 when what was sealed and what is recorded do not agree, and nothing is sealed any more.
const BROKEN: &str = "capitune_audit_broken";

/// What one step of the sealer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Everything is sealed, up to here.
    Done,
    /// There is more.
    More,
    /// Another process seals.
    StandBy,
}

/// Adds to the tree; keeps its edge in memory between steps.
pub struct Sealer {
    store: EventStore,
    edge: Option<Edge>,
    keys: Vec<AuditKey>,
}

impl Sealer {
    /// A sealer that has looked at nothing yet.
    pub fn new(store: EventStore) -> Self {
        Self { store, edge: None, keys: Vec::new() }
    }

    /// Seals every second until `stop`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        let mut broken = false;
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = tick.tick() => {}
            }
            let sealed = self.seal().await;
            metrics::gauge!(BROKEN).set(f64::from(u8::from(matches!(sealed, Err(StoreError::Broken(_))))));
            match sealed {
                Ok(()) => broken = false,
                Err(StoreError::Broken(reason)) if !broken => {
                    tracing::error!(reason, "nothing is sealed any more: run `capitune audit verify`");
                    broken = true;
                }
                Err(StoreError::Broken(_)) => {}
                Err(error) => tracing::warn!(%error, "the log could not be sealed; trying again"),
            }
        }
    }

    /// Seals all that is in the log, unless another process does.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when what is sealed is not what was, [`StoreError::Unavailable`] when the database does
    /// not answer.
    pub async fn seal(&mut self) -> Result<(), StoreError> {
        loop {
            match self.step().await {
                Ok(Step::More) => {}
                Ok(Step::Done | Step::StandBy) => return Ok(()),
                Err(error) => {
                    // What is in memory may be ahead of what was committed.
                    self.edge = None;
                    return Err(error);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let mut connection = self.store.inner.writes.acquire().await?;
        let mut transaction = connection.begin().await?;
        let leads: bool =
            sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(LOCK).fetch_one(&mut *transaction).await?;
        if !leads {
            self.edge = None;
            return Ok(Step::StandBy);
        }
        self.keys = keys::load(&mut transaction, self.store.vault(), &self.store.audit_origin()).await?;
        let edge = self.edge(&mut transaction).await?;
        let head: i64 =
            sqlx::query_scalar("select coalesce(max(position), 0) from events").fetch_one(&mut *transaction).await?;
        let (head, sealed) = (head.cast_unsigned(), edge.size());
        if head < sealed {
            return Err(StoreError::Broken(format!("the log ends at {head}, and {sealed} events were sealed")));
        }
        metrics::gauge!(UNSEALED).set((head - sealed) as f64);
        if head == sealed {
            return Ok(Step::Done);
        }
        let end = head.min(sealed + CHUNK);
        let events = stored::read(&mut transaction, sealed, end).await?;
        for (expected, event) in (sealed + 1..).zip(&events) {
            if event.position != expected {
                return Err(StoreError::Broken(format!("{expected} is missing before {}", event.position)));
            }
            edge.push(event.leaf());
        }
        edge.write(&mut transaction).await?;
        let (size, root) = (edge.size(), edge.root());
        self.sign(&mut transaction, size, root).await?;
        transaction.commit().await?;
        metrics::gauge!(UNSEALED).set((head - end) as f64);
        Ok(if end < head { Step::More } else { Step::Done })
    }

    /// The tree's edge, as the last head has it.
    async fn edge(&mut self, connection: &mut PgConnection) -> Result<&mut Edge, StoreError> {
        let last = heads::last(connection, &self.store.audit_origin()).await?;
        if last.is_none() && !self.keys.is_empty() {
            return Err(StoreError::Broken("every signed head was removed".to_owned()));
        }
        let size = last.as_ref().map_or(0, |last| last.head.size);
        let edge = match self.edge.take() {
            Some(edge) if edge.size() == size => edge,
            _ => Edge::load(connection, size).await?,
        };
        if let Some(last) = last.filter(|_| !cfg!(feature = "sabotage-trusting-sealer")) {
            if edge.root() != last.head.root {
                return Err(StoreError::Broken(format!("the tree is not the one that was signed at {size}")));
            }
            if !self.keys.iter().any(|key| last.is_signed_by(key.key.verifier())) {
                return Err(StoreError::Broken(format!("the head of {size} events was not signed by this log")));
            }
        }
        Ok(self.edge.insert(edge))
    }

    async fn sign(&self, connection: &mut PgConnection, size: u64, root: super::Hash) -> Result<(), StoreError> {
        let origin = self.store.audit_origin();
        let at = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *connection).await?;
        let head = TreeHead { origin: origin.clone(), size, root, at };
        let signed = match self.keys.last() {
            Some(key) => SignedHead::sign(head, &key.key),
            None => SignedHead::sign(head, &keys::rotate(connection, self.store.vault(), &origin).await?),
        };
        heads::insert(connection, &signed).await
    }
}
