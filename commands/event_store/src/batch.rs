//! A batch as Postgres sees it: arrays in, one outcome per command out.

use std::collections::HashMap;

use sqlx::PgConnection;
use sqlx::error::ErrorKind;
use uuid::Uuid;

use crate::append::{Appended, Refusal};
use crate::appender::{Outcome, Queued};

/// The batch in columns; commands are numbered from 1.
#[derive(Default)]
struct Columns<'a> {
    types: Vec<&'a str>,
    ids: Vec<String>,
    expected: Vec<i64>,
    versions: Vec<i64>,
    last: Vec<i32>,
    after: Vec<i32>,
    scopes: Vec<Option<Uuid>>,
    keys: Vec<Option<&'a str>>,
    digests: Vec<Option<&'a [u8]>>,
    statuses: Vec<Option<i16>>,
    unchanged_positions: Vec<i64>,
    event: EventColumns<'a>,
    person_commands: Vec<i32>,
    persons: Vec<Uuid>,
    claim: ClaimColumns<'a>,
}

#[derive(Default)]
struct EventColumns<'a> {
    commands: Vec<i32>,
    types: Vec<&'a str>,
    ids: Vec<String>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    event_versions: Vec<String>,
    payloads: Vec<&'a str>,
    metadata: Vec<&'a str>,
    event_ids: Vec<Uuid>,
}

#[derive(Default)]
struct ClaimColumns<'a> {
    commands: Vec<i32>,
    kinds: Vec<&'a str>,
    values: Vec<&'a [u8]>,
    owners: Vec<Uuid>,
    releases: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Queued]) -> Self {
        let mut columns = Self::default();
        let mut last = HashMap::with_capacity(batch.len());
        for (number, queued) in (1..).zip(batch) {
            let after = last.insert(queued.append.stream, (number, end_of(queued)));
            // Only what continues the same version was decided upon it; the rest is checked against the stream.
            let after = after.filter(|(_, end)| *end == queued.append.expected_version);
            columns.after.push(after.map_or(0, |(number, _)| number));
            columns.push(number, queued);
        }
        columns
    }

    fn push(&mut self, number: i32, queued: &'a Queued) {
        let append = &queued.append;
        let id = append.stream.id.to_string();
        for (sequence, event) in (append.expected_version + 1..).zip(&append.events) {
            self.event.commands.push(number);
            self.event.types.push(append.stream.aggregate_type);
            self.event.ids.push(id.clone());
            self.event.sequences.push(sequence.cast_signed());
            self.event.event_types.push(&event.event_type);
            self.event.event_versions.push(event.schema_version.to_string());
            self.event.payloads.push(&event.payload);
            self.event.metadata.push(&event.metadata);
            self.event.event_ids.push(event.event_id);
        }
        for person in &append.persons {
            self.person_commands.push(number);
            self.persons.push(*person);
        }
        for claim in &append.claims {
            self.claim.commands.push(number);
            self.claim.kinds.push(claim.kind);
            self.claim.values.push(&claim.value);
            self.claim.owners.push(claim.owner);
            self.claim.releases.push(claim.release);
        }
        self.types.push(append.stream.aggregate_type);
        self.ids.push(id);
        self.expected.push(append.expected_version.cast_signed());
        self.versions.push(end_of(queued).cast_signed());
        self.last.push(i32::try_from(self.event.ids.len()).unwrap_or(i32::MAX));
        self.unchanged_positions.push(append.unchanged_position.cast_signed());
        let key = append.idempotency.as_ref();
        self.scopes.push(key.map(|key| key.scope));
        self.keys.push(key.map(|key| key.key.as_str()));
        self.digests.push(key.map(|key| key.digest.as_slice()));
        self.statuses.push(key.map(|key| key.status.cast_signed()));
    }
}

/// What the log is expected to hold when a batch comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The newest event that this process has seen, by position and id: without it nothing is appended.
    pub(crate) seen: Option<(u64, Uuid)>,
    /// Whether this process wrote that event itself. Nobody has appended since as long as it is the log's last one, and
    /// then streams and keys need not be looked up.
    pub(crate) unchecked: bool,
}

/// What became of a batch that was committed.
pub(crate) struct Settled {
    /// Of each command.
    pub(crate) outcomes: Vec<Outcome>,
    /// The log's last event by position and id, when it is one of the batch.
    pub(crate) head: Option<(u64, Uuid)>,
}

/// Appends the batch: one round trip, one commit. Nothing is appended, and nothing returned, when the log does not hold
/// what it is expected to.
pub(crate) async fn append(
    connection: &mut PgConnection,
    batch_id: Uuid,
    expected: Expected,
    batch: &[Queued],
) -> Result<Option<Settled>, sqlx::Error> {
    const CALL: &str = "select head, continued, outcomes from append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
                        $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, \
                        $29, $30, $31)";
    let columns = Columns::of(batch);
    let answer: (i64, bool, Option<Vec<Option<String>>>) = sqlx::query_as(CALL)
        .bind(batch_id)
        .bind(expected.seen.map(|(position, _)| position.cast_signed()))
        .bind(expected.seen.map(|(_, event_id)| event_id))
        .bind(expected.unchecked)
        .bind(&columns.types)
        .bind(&columns.ids)
        .bind(&columns.expected)
        .bind(&columns.versions)
        .bind(&columns.last)
        .bind(&columns.after)
        .bind(&columns.scopes)
        .bind(&columns.keys)
        .bind(&columns.digests)
        .bind(&columns.statuses)
        .bind(&columns.unchanged_positions)
        .bind(&columns.event.commands)
        .bind(&columns.event.types)
        .bind(&columns.event.ids)
        .bind(&columns.event.sequences)
        .bind(&columns.event.event_types)
        .bind(&columns.event.event_versions)
        .bind(&columns.event.payloads)
        .bind(&columns.event.metadata)
        .bind(&columns.event.event_ids)
        .bind(&columns.person_commands)
        .bind(&columns.persons)
        .bind(&columns.claim.commands)
        .bind(&columns.claim.kinds)
        .bind(&columns.claim.values)
        .bind(&columns.claim.owners)
        .bind(&columns.claim.releases)
        .fetch_one(connection)
        .await?;
    let (head, continued, refusals) = answer;
    if !continued {
        return Ok(None);
    }
    settled(batch, head.cast_unsigned(), refusals.as_deref().unwrap_or_default()).map(Some)
}

/// Positions go on from `head` in the order of what was appended.
fn settled(batch: &[Queued], mut head: u64, refusals: &[Option<String>]) -> Result<Settled, sqlx::Error> {
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut last = None;
    for (number, queued) in batch.iter().enumerate() {
        if let Some(refusal) = refusals.get(number).and_then(Option::as_deref) {
            outcomes.push(Err(refusal_of(refusal)?));
            continue;
        }
        head += queued.append.events.len() as u64;
        last = queued.append.events.last().or(last);
        let position = if queued.append.events.is_empty() { queued.append.unchanged_position } else { head };
        outcomes.push(Ok(Appended { version: end_of(queued), position }));
    }
    Ok(Settled { outcomes, head: last.map(|event| (head, event.event_id)) })
}

fn refusal_of(outcome: &str) -> Result<Refusal, sqlx::Error> {
    match outcome {
        "conflict" => Ok(Refusal::Conflict),
        "key_used" => Ok(Refusal::KeyUsed),
        "claim_taken" => Ok(Refusal::ClaimTaken),
        "person_erased" => Ok(Refusal::PersonErased),
        other => Err(sqlx::Error::Protocol(format!("append_batch answered {other:?}"))),
    }
}

/// The stream's version once the command is appended.
fn end_of(queued: &Queued) -> u64 {
    queued.append.expected_version + queued.append.events.len() as u64
}

/// Makes sure that a batch whose outcome is unknown can never be applied; false when it was applied already.
///
/// Waits for a transaction that has inserted the id and not yet ended.
pub(crate) async fn forestall(connection: &mut PgConnection, batch_id: Uuid) -> Result<bool, sqlx::Error> {
    let insert = "insert into appended_batches (batch_id) values ($1)";
    match sqlx::query(insert).bind(batch_id).execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::UniqueViolation => Ok(false),
        Err(error) => Err(error),
    }
}

/// What became of each command of a batch that was applied.
pub(crate) async fn look_up(connection: &mut PgConnection, batch: &[Queued]) -> Result<Vec<Outcome>, sqlx::Error> {
    let mut outcomes = Vec::with_capacity(batch.len());
    for queued in batch {
        let position = match queued.append.events.last() {
            Some(last) => position_of_event(connection, queued, last.event_id).await?,
            None => position_of_record(connection, queued).await?,
        };
        // A refusal's reason is gone with its answer: to be decided again finds it anew.
        let appended = |position: i64| Appended { version: end_of(queued), position: position.cast_unsigned() };
        outcomes.push(position.map(appended).ok_or(Refusal::Conflict));
    }
    Ok(outcomes)
}

async fn position_of_event(
    connection: &mut PgConnection,
    queued: &Queued,
    event_id: Uuid,
) -> Result<Option<i64>, sqlx::Error> {
    let append = &queued.append;
    sqlx::query_scalar(
        "select position from events
         where aggregate_type = $1 and aggregate_id = $2 and sequence = $3 and event_id = $4",
    )
    .bind(append.stream.aggregate_type)
    .bind(append.stream.id.to_string())
    .bind(end_of(queued).cast_signed())
    .bind(event_id)
    .fetch_optional(connection)
    .await
}

async fn position_of_record(connection: &mut PgConnection, queued: &Queued) -> Result<Option<i64>, sqlx::Error> {
    let Some(key) = &queued.append.idempotency else { return Ok(None) };
    sqlx::query_scalar("select position from idempotency_records where scope = $1 and key = $2 and digest = $3")
        .bind(key.scope)
        .bind(&key.key)
        .bind(&key.digest)
        .fetch_optional(connection)
        .await
}
