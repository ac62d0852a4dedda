//! The versions of streams, read in batches.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{Continuity, Database, StoreError, StreamId};

const MAX_BATCH: usize = 512;
const QUEUE: usize = 8192;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a stream ends; both are 0 for a stream without events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamHead {
    /// Its last version.
    pub version: u64,
    /// The position of its last event.
    pub position: u64,
}

struct Question {
    stream: StreamId,
    reply: oneshot::Sender<Result<StreamHead, StoreError>>,
}

pub(crate) struct Heads {
    queue: mpsc::Sender<Question>,
}

impl Heads {
    pub(crate) fn start(database: &Database, continuity: Arc<Continuity>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(answer(database.reads.clone(), continuity, waiting));
        Self { queue }
    }

    pub(crate) async fn read(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        let unavailable = || StoreError::Unavailable("the stream's head could not be read in time".to_owned());
        let (reply, receiver) = oneshot::channel();
        let asked = async {
            self.queue.send(Question { stream, reply }).await.map_err(|_| unavailable())?;
            receiver.await.map_err(|_| unavailable())?
        };
        timeout(TIMEOUT, asked).await.map_err(|_| unavailable())?
    }
}

async fn answer(reads: PgPool, continuity: Arc<Continuity>, mut waiting: mpsc::Receiver<Question>) {
    let mut questions = Vec::with_capacity(MAX_BATCH);
    while waiting.recv_many(&mut questions, MAX_BATCH).await > 0 {
        let heads = read_heads(&reads, &continuity, &questions).await.map_err(StoreError::from);
        for (number, question) in questions.drain(..).enumerate() {
            let head = heads.as_ref().map(|heads| heads.get(number).copied().unwrap_or_default());
            // A caller that gave up needs no answer.
            let _ = question.reply.send(head.map_err(Clone::clone));
        }
    }
}

/// The heads; takes note of the newest event among them, and of a log that does not hold what was seen of it.
async fn read_heads(
    reads: &PgPool,
    continuity: &Continuity,
    questions: &[Question],
) -> Result<Vec<StreamHead>, sqlx::Error> {
    let types: Vec<&str> = questions.iter().map(|question| question.stream.aggregate_type).collect();
    let ids: Vec<String> = questions.iter().map(|question| question.stream.id.to_string()).collect();
    let seen = continuity.newest();
    let rows: Vec<(i64, i64, Option<Uuid>, bool)> = sqlx::query_as(
        "select coalesce(last.sequence, 0), coalesce(last.position, 0), last.event_id,
                (select $4::uuid is null or exists (select from events where position = $3 and event_id = $4))
         from unnest($1::text[], $2::text[]) with ordinality as asked (type, id, n)
         left join lateral (
             select sequence, position, event_id from events
             where aggregate_type = asked.type and aggregate_id = asked.id
             order by sequence desc limit 1) last on true
         order by asked.n",
    )
    .bind(types)
    .bind(ids)
    .bind(seen.map(|(position, _)| position.cast_signed()))
    .bind(seen.map(|(_, event_id)| event_id))
    .fetch_all(reads)
    .await?;
    if let Some(seen) = seen.filter(|_| rows.iter().any(|(.., holds)| !holds)) {
        continuity.lost(seen);
    }
    let newest = rows.iter().filter_map(|(_, position, event_id, _)| event_id.map(|id| (*position, id))).max();
    if let Some((position, event_id)) = newest {
        continuity.saw(position.cast_unsigned(), event_id);
    }
    let heads = rows.into_iter().map(|(version, position, ..)| StreamHead {
        version: version.cast_unsigned(),
        position: position.cast_unsigned(),
    });
    Ok(heads.collect())
}
