//! Reading the log as it grows. One feed per process takes it from JetStream and decodes each message once; a
//! subscription takes only `previous + 1` from it, and reads the log itself wherever the feed leaves a hole. Each event
//! names the one before it: what was lost in a fail-over does not continue what the log holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::{Client, HeaderValue, jetstream};
use domain::EventEnvelope;
use event_store::{Cursor, EventStore, StoreError};
use futures::StreamExt;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::bus;

/// Events that the feed holds for its slowest subscription, at most; whoever falls further behind reads the log.
const FEED: usize = 4096;
/// Events that a resting subscription looks at.
const LOOKS: usize = 8;
/// How often the feed makes sure that it is not silently behind the log.
const WATCH: Duration = Duration::from_secs(1);
/// How often an idle subscription compares itself with the log, while there is a feed and while there is none.
const IDLE: Duration = Duration::from_millis(400);
const IDLE_WITHOUT_FEED: Duration = Duration::from_millis(100);

/// An event as JetStream delivers it.
#[derive(Clone)]
struct Delivered {
    event: Arc<EventEnvelope>,
    /// The event before it.
    previous: Cursor,
}

impl Delivered {
    fn position(&self) -> u64 {
        self.event.position
    }

    fn place(&self) -> Cursor {
        Cursor::at(self.event.position, self.event.event_id)
    }
}

/// The process's one consumer of JetStream.
#[derive(Clone)]
pub(crate) struct Feed {
    events: broadcast::Sender<Delivered>,
    flowing: Arc<AtomicBool>,
}

impl Feed {
    pub(crate) fn start(store: EventStore, client: Client, cancel: CancellationToken) -> (Self, JoinHandle<()>) {
        let (events, _) = broadcast::channel(FEED);
        let feed = Self { events, flowing: Arc::default() };
        let running = feed.clone();
        let task = tokio::spawn(async move {
            cancel.run_until_cancelled(running.run(&store, &client)).await;
        });
        (feed, task)
    }

    async fn run(&self, store: &EventStore, client: &Client) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            if client.connection_state() == State::Connected {
                let ended = self.consume(store, client, &mut backoff).await;
                self.flowing.store(false, Ordering::Relaxed);
                tracing::debug!(reason = ended.err(), "the feed was interrupted; events are read from the log");
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Passes on what is appended from now on; what was before, each subscription reads from the log.
    async fn consume(&self, store: &EventStore, client: &Client, backoff: &mut Backoff) -> Result<(), String> {
        let stream = jetstream::new(client.clone())
            .get_stream(bus::stream_name(store.log_id()))
            .await
            .map_err(|error| error.to_string())?;
        let published = stream.cached_info().state.last_sequence;
        let head = store.head_cursor().await.map_err(|error| error.to_string())?;
        if published > head.position {
            // What a restored log has lost must not be applied; the relay makes the stream anew.
            return Err(format!("the stream is at {published}, the log at {}", head.position));
        }
        let consumer = stream
            .create_consumer(OrderedConfig {
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: head.position + 1 },
                ..OrderedConfig::default()
            })
            .await
            .map_err(|error| error.to_string())?;
        let messages = consumer.messages().await.map_err(|error| error.to_string())?;
        backoff.reset();
        self.flowing.store(true, Ordering::Relaxed);
        self.pass_on(store, client, messages, head).await
    }

    async fn pass_on(
        &self,
        store: &EventStore,
        client: &Client,
        mut messages: Ordered,
        head: Cursor,
    ) -> Result<(), String> {
        let log = store.log_id().to_string();
        let (mut last, mut known_head) = (head, head.position);
        let mut watch = interval(WATCH);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) => match decode(&message, &log) {
                        Ok(delivered) if delivered.position() == last.position + 1 && delivered.previous != last => {
                            return Err(format!("{} does not continue what came before it", delivered.position()));
                        }
                        Ok(delivered) => {
                            last = delivered.place();
                            // Nobody listening is no error: subscriptions come and go.
                            let _ = self.events.send(delivered);
                        }
                        // A hole for its readers, which they fill from the log.
                        Err(reason) => tracing::warn!(reason, "a message that is not the log's was refused"),
                    },
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err("the consumer ended".to_owned()),
                },
                _ = watch.tick() => {
                    if client.connection_state() != State::Connected {
                        return Err("NATS is away".to_owned());
                    }
                    // Behind what was the head a whole tick ago: the consumer is stuck, or the relay is.
                    if last.position < known_head {
                        return Err(format!("silent since {}, the log is at {known_head}", last.position));
                    }
                    known_head = store.head().await.map_err(|error| error.to_string())?;
                }
            }
        }
    }
}

/// A message is believed only at the sequence that its position promises, and when it names the event before it.
fn decode(message: &jetstream::Message, log: &str) -> Result<Delivered, String> {
    let sequence = message.info().map_err(|error| error.to_string())?.stream_sequence;
    let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name)).map(HeaderValue::as_str);
    if header(bus::LOG_ID) != Some(log) {
        return Err(format!("the message at {sequence} is of another log"));
    }
    let previous: Option<Uuid> = header(bus::PREVIOUS_EVENT_ID).and_then(|id| id.parse().ok());
    if previous.is_none() && sequence > 1 {
        return Err(format!("the message at {sequence} does not name the event before it"));
    }
    let event: EventEnvelope =
        serde_json::from_slice(&message.payload).map_err(|_| format!("the message at {sequence} is no event"))?;
    if event.position != sequence {
        return Err(format!("position {} stands at sequence {sequence}", event.position));
    }
    let previous = Cursor { position: sequence.saturating_sub(1), event_id: previous };
    Ok(Delivered { event: Arc::new(event), previous })
}

/// One reader's place in the log.
pub(crate) struct Subscription {
    store: EventStore,
    feed: Feed,
    live: broadcast::Receiver<Delivered>,
    pending: VecDeque<Delivered>,
    /// Whether the log was read to its end since the feed last lost something.
    caught_up: bool,
}

impl Subscription {
    pub(crate) fn new(store: EventStore, feed: Feed) -> Self {
        let live = feed.events.subscribe();
        Self { store, feed, live, pending: VecDeque::new(), caught_up: false }
    }

    /// The events right after `after`, in order: up to `limit` or what is there, waiting only for the first.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the log no longer holds the event at `after`.
    pub(crate) async fn next(&mut self, after: Cursor, limit: usize) -> Result<Vec<Arc<EventEnvelope>>, StoreError> {
        loop {
            self.take_in(limit);
            while self.pending.front().is_some_and(|delivered| delivered.position() <= after.position) {
                self.pending.pop_front();
            }
            let events = match self.pending.front().map(|delivered| delivered.position() - after.position) {
                Some(1) if self.pending.front().is_some_and(|delivered| delivered.previous == after) => {
                    return Ok(self.take_chained(after, limit));
                }
                Some(1) => {
                    // What was delivered continues another log than the one that was read.
                    self.pending.clear();
                    self.read_log(after, limit).await?
                }
                Some(ahead) => self.fill(after, limit.min(ahead as usize - 1)).await?,
                None if !self.caught_up => self.read_log(after, limit).await?,
                None => self.wait(after, limit).await?,
            };
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Waits until then, but no longer than until the feed brings an event that is wanted; after some that are not it looks
    /// no more, since whoever looks at each of many holds up everybody.
    pub(crate) async fn rest(&mut self, until: Instant, wanted: fn(&EventEnvelope) -> bool) {
        for _ in 0..LOOKS {
            match timeout_at(until, self.live.recv()).await {
                Ok(Ok(delivered)) => {
                    let found = wanted(&delivered.event);
                    self.pending.push_back(delivered);
                    if found {
                        return;
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => self.caught_up = false,
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        sleep_until(until).await;
    }

    /// Takes over what the feed holds already.
    fn take_in(&mut self, limit: usize) {
        while self.pending.len() < limit {
            match self.live.try_recv() {
                Ok(delivered) => self.pending.push_back(delivered),
                Err(TryRecvError::Lagged(_)) => self.caught_up = false,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// What was delivered after `after`, as long as each event continues the one before it.
    fn take_chained(&mut self, after: Cursor, limit: usize) -> Vec<Arc<EventEnvelope>> {
        let mut last = after;
        let chained = self.pending.iter().take(limit).take_while(|delivered| {
            let continues = delivered.previous == last;
            last = delivered.place();
            continues
        });
        let count = chained.count();
        self.pending.drain(..count).map(|delivered| delivered.event).collect()
    }

    /// Waits for the feed, or for the next idle tick.
    async fn wait(&mut self, after: Cursor, limit: usize) -> Result<Vec<Arc<EventEnvelope>>, StoreError> {
        let idle = if self.feed.flowing.load(Ordering::Relaxed) { IDLE } else { IDLE_WITHOUT_FEED };
        tokio::select! {
            event = self.live.recv() => {
                match event {
                    Ok(delivered) => self.pending.push_back(delivered),
                    Err(RecvError::Lagged(_)) => self.caught_up = false,
                    Err(RecvError::Closed) => sleep(idle).await,
                }
                Ok(Vec::new())
            }
            () = sleep(idle) => self.read_log(after, limit).await,
        }
    }

    /// Reads what the feed left out.
    async fn fill(&mut self, after: Cursor, missing: usize) -> Result<Vec<Arc<EventEnvelope>>, StoreError> {
        let events = self.read_log(after, missing).await?;
        if events.is_empty() {
            // The feed knows of events that this log does not show yet.
            sleep(IDLE).await;
        }
        Ok(events)
    }

    async fn read_log(&mut self, after: Cursor, limit: usize) -> Result<Vec<Arc<EventEnvelope>>, StoreError> {
        let events = self.store.read_on(after, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
        self.caught_up = events.len() < limit;
        Ok(events.into_iter().map(Arc::new).collect())
    }
}
