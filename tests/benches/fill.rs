//! Long logs in little time: well-formed, sealed events, written in bulk instead of by commands.

use std::collections::BTreeMap;

use chrono::Utc;
use domain::access::DEFAULT_ORGANIZATION;
use domain::dossier::{Dossier, DossierEvent, FieldValue};
use domain::metadata::Client;
use domain::{Aggregate, Change, DomainEvent, Metadata, Personal, Role};
use event_store::{Database, EventStore, StreamId};
use futures::{StreamExt, stream};
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{ConnectOptions, Executor};
use uuid::Uuid;

use crate::write_side::OWNER;

/// Events of one dossier: it is opened, edited, submitted, taken up and accepted.
const EVENTS: usize = 5;
/// Dossiers whose events are interleaved: those of one dossier lie this many events apart.
const DOSSIERS: usize = 4000;
/// Blocks that are made at once.
const AT_ONCE: usize = 2;
const REVIEWER: Uuid = Uuid::from_u128(0x01900000_0000_7000_8000_00000000cafe);

/// Events ready to be written.
pub struct Block {
    lines: Vec<u8>,
    /// How many there are.
    pub events: usize,
}

/// Appends about `events` events, always whole dossiers.
pub async fn append(database: &Database, store: &EventStore, events: usize) {
    let head = store.head().await.unwrap();
    let mut blocks = stream::iter(plan(head, events))
        .map(|(after, dossiers)| tokio::spawn(block(store.clone(), after, dossiers)))
        .buffered(AT_ONCE);
    while let Some(block) = blocks.next().await {
        write(database, block.unwrap()).await;
    }
    // Otherwise Postgres does it by itself, while something is measured.
    let mut owner = database.owner_options().connect().await.unwrap();
    for upkeep in ["vacuum (analyze) events", "checkpoint"] {
        owner.execute(upkeep).await.unwrap();
    }
}

/// Makes about `events` events that go right after the log's head, in blocks of `dossiers` dossiers.
pub async fn blocks(store: &EventStore, events: usize, dossiers: usize) -> Vec<Block> {
    let head = store.head().await.unwrap();
    let mut blocks = Vec::new();
    for number in 0..events / (dossiers * EVENTS) {
        let after = head + (number * dossiers * EVENTS) as u64;
        blocks.push(block(store.clone(), after, dossiers).await);
    }
    blocks
}

/// Writes a block in one commit.
pub async fn write(database: &Database, block: Block) {
    let statement = "copy events from stdin";
    let mut copy = database.writes.copy_in_raw(statement).await.unwrap();
    copy.send(block.lines).await.unwrap();
    copy.finish().await.unwrap();
}

/// After which position which number of dossiers comes.
fn plan(head: u64, events: usize) -> Vec<(u64, usize)> {
    let dossiers = events / EVENTS;
    let starts = (0..dossiers).step_by(DOSSIERS);
    starts.map(|start| (head + (start * EVENTS) as u64, DOSSIERS.min(dossiers - start))).collect()
}

async fn block(store: EventStore, after: u64, dossiers: usize) -> Block {
    store.vault().create_key(OWNER).await.unwrap();
    let ids: Vec<Uuid> = (0..dossiers).map(|_| Uuid::now_v7()).collect();
    let mut lines = String::with_capacity(dossiers * EVENTS * 1200);
    let mut position = after;
    for number in 0..EVENTS {
        for id in &ids {
            position += 1;
            let stream = StreamId { aggregate_type: Dossier::TYPE, id: *id };
            push_line(&mut lines, &store, stream, position, number).await;
        }
    }
    Block { lines: lines.into_bytes(), events: dossiers * EVENTS }
}

async fn push_line(lines: &mut String, store: &EventStore, stream: StreamId, position: u64, number: usize) {
    let event = event(number, position);
    let payload = serde_json::to_string(&event).unwrap();
    let metadata = serde_json::to_string(&metadata(stream.id)).unwrap();
    let (payload, _) = store.vault().seal(stream, &payload).await.unwrap();
    let (metadata, _) = store.vault().seal(stream, &metadata).await.unwrap();
    let escaped = |json: String| json.replace('\\', "\\\\");
    let (payload, metadata) = (escaped(payload), escaped(metadata));
    let StreamId { aggregate_type, id } = stream;
    let (version, event_type, event_id) = (number + 1, event.event_type(), Uuid::now_v7());
    let recorded_at = Utc::now().to_rfc3339();
    lines.push_str(&format!(
        "{aggregate_type}\t{id}\t{version}\t{event_type}\t1\t{payload}\t{metadata}\t{position}\t{event_id}\t\
         {recorded_at}\n"
    ));
}

fn event(number: usize, position: u64) -> DossierEvent {
    let at = Utc::now();
    let text = || Personal::new(OWNER, "Two rooms, near the school, from the first of the month on.".repeat(3));
    let field = |value: &str| Personal::new(OWNER, FieldValue::from(value));
    match number {
        0 => DossierEvent::Created {
            owner: OWNER,
            organization: DEFAULT_ORGANIZATION,
            category: "housing".to_owned(),
            title: format!("A request for housing, {position}"),
            description: Some(text()),
            fields: BTreeMap::from([("city".to_owned(), field("Paris")), ("rooms".to_owned(), field("two"))]),
            at,
        },
        1 => DossierEvent::Edited {
            title: None,
            category: None,
            description: Some(Change { from: Some(text()), to: Some(text()) }),
            fields: BTreeMap::new(),
            at,
        },
        2 => DossierEvent::Submitted { revision: 1, note: None, at },
        3 => DossierEvent::ReviewStarted { reviewer: REVIEWER, at },
        _ => DossierEvent::Accepted { motivation: Some(text()), by: REVIEWER, at },
    }
}

fn metadata(id: Uuid) -> Metadata {
    let request = Uuid::now_v7();
    let client = Client { address: "127.0.0.1".to_owned(), user_agent: Some("benchmark".to_owned()) };
    Metadata {
        actor_id: OWNER,
        actor_role: Role::Applicant,
        organization_id: DEFAULT_ORGANIZATION,
        on_behalf_of: None,
        request_id: request.to_string(),
        traceparent: None,
        correlation_id: request,
        causation_id: request,
        client: Some(Personal::new(OWNER, client)),
        command: "EditDossier".to_owned(),
        partition_key: id,
    }
}
