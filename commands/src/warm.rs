//! Warm aggregates: states kept in memory, moved ahead of their commit, and thrown away when a commit fails or somebody is
//! erased whose data is in them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::Aggregate;
use event_store::{Erasures, Lineage, StoreError, StreamHead, StreamId};
use moka::sync::Cache;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use crate::Inner;

/// Aggregates of one type kept warm, at most.
const CAPACITY: u64 = 50_000;
/// A committed state this far behind is replaced, so that a reload after a conflict reads few events.
const BASE_EVERY: u64 = 64;

type Entries<A> = Cache<Uuid, Arc<Mutex<Warm<A>>>>;

/// The warm aggregates of every type.
#[derive(Default)]
pub(crate) struct WarmAggregates {
    types: RwLock<HashMap<TypeId, Box<dyn AnyEntries>>>,
}

/// The entries of one type, whichever it is.
trait AnyEntries: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn forget(&self, erasures: &Erasures);
}

impl<A: Aggregate> AnyEntries for Entries<A> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn forget(&self, erasures: &Erasures) {
        for (_, entry) in self {
            // Who has it now looks before the next use.
            if let Ok(mut warm) = entry.try_lock() {
                warm.forget(erasures);
            }
        }
    }
}

impl WarmAggregates {
    /// The aggregate's entry, cold when it is new.
    pub(crate) fn entry<A: Aggregate>(&self, id: Uuid) -> Arc<Mutex<Warm<A>>> {
        self.entries::<A>().get_with(id, Arc::default)
    }

    /// Drops the states that hold data of somebody who was erased lately.
    pub(crate) fn forget(&self, erasures: &Erasures) {
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        types.values().for_each(|entries| entries.forget(erasures));
    }

    fn entries<A: Aggregate>(&self) -> Entries<A> {
        let type_id = TypeId::of::<A>();
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        let found = types.get(&type_id).and_then(|entries| entries.as_any().downcast_ref::<Entries<A>>());
        if let Some(entries) = found {
            return entries.clone();
        }
        drop(types);
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        let entries = types.entry(type_id).or_insert_with(|| Box::new(Entries::<A>::new(CAPACITY)));
        entries.as_any().downcast_ref::<Entries<A>>().cloned().unwrap_or_else(|| Entries::<A>::new(CAPACITY))
    }
}

/// One warm aggregate.
pub(crate) struct Warm<A> {
    /// A committed state from which the rest can be read again.
    base: (A, u64),
    /// The state to decide on, ahead of the commits in the queue.
    ahead: A,
    version: u64,
    loaded: bool,
    lineage: Lineage,
    commits: Commits,
    /// Whose data is in the states, or was.
    persons: Persons,
    /// The erasures that it was looked at for.
    noted: u64,
    /// The losses of the log's tail that were known before the state was read.
    losses: u64,
}

/// The persons whose data something holds.
#[derive(Default)]
pub(crate) struct Persons(Vec<Uuid>);

impl Persons {
    pub(crate) fn add(&mut self, persons: &[Uuid]) {
        for person in persons {
            if let Err(place) = self.0.binary_search(person) {
                self.0.insert(place, *person);
            }
        }
    }
}

impl<A: Default> Default for Warm<A> {
    fn default() -> Self {
        Self {
            base: (A::default(), 0),
            ahead: A::default(),
            version: 0,
            loaded: false,
            lineage: Lineage::default(),
            commits: Commits::new(Lineage::default()),
            persons: Persons::default(),
            noted: 0,
            losses: 0,
        }
    }
}

impl<A: Aggregate> Warm<A> {
    pub(crate) fn state(&self) -> &A {
        &self.ahead
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn lineage(&self) -> Lineage {
        self.lineage.clone()
    }

    pub(crate) fn commits(&self) -> Commits {
        self.commits.clone()
    }

    /// The losses of the log's tail that were known before the state was read.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Takes the stream for a new one, unless it is known.
    pub(crate) fn begin(&mut self, losses: u64) {
        if !self.loaded {
            (self.loaded, self.losses) = (true, losses);
        }
    }

    /// Moves ahead by events that are about to stand in the queue.
    pub(crate) fn advance(&mut self, events: &[A::Event]) -> Ahead {
        events.iter().for_each(|event| self.ahead.apply(event));
        self.version += events.len() as u64;
        Ahead { lineage: Some(self.lineage.clone()) }
    }

    /// Remembers whose data went into the state.
    pub(crate) fn hold(&mut self, persons: &[Uuid]) {
        self.persons.add(persons);
    }

    /// Drops the state when it holds data of somebody who was erased lately.
    fn forget(&mut self, erasures: &Erasures) {
        let noted = erasures.noted();
        if noted != self.noted && self.persons.0.iter().any(|person| erasures.contains(*person)) {
            self.drop_state();
        }
        self.noted = noted;
    }

    fn drop_state(&mut self) {
        self.lineage.break_off();
        self.commits.broken();
        *self = Self::default();
    }

    /// Makes the state fit to decide on: loaded, of an unbroken lineage, not behind `head`, of events that the log is not
    /// known to have lost, and without data of anybody who is known to be erased.
    pub(crate) async fn refresh(&mut self, inner: &Inner, id: Uuid, head: u64) -> Result<(), StoreError> {
        self.forget(inner.store.vault().erasures());
        let losses = inner.store.continuity().losses();
        if self.loaded && self.losses != losses {
            self.drop_state();
        }
        if self.loaded && !self.lineage.is_broken() && self.version >= head {
            if self.version >= self.base.1 + BASE_EVERY && self.commits.last().version == self.version {
                self.base = (self.ahead.clone(), self.version);
            }
            return Ok(());
        }
        // Whatever was decided on the old state must not be applied upon the new one.
        self.lineage.break_off();
        self.commits.broken();
        let (mut state, after) = if self.loaded { self.base.clone() } else { (A::default(), 0) };
        let stream = StreamId { aggregate_type: A::TYPE, id };
        let version = inner.load(stream, &mut state, &mut self.persons, after).await?;
        self.lineage = Lineage::default();
        self.commits = Commits::new(self.lineage.clone());
        self.commits.reach(StreamHead { version, position: 0 });
        self.base = (state.clone(), version);
        self.ahead = state;
        self.version = version;
        (self.loaded, self.losses) = (true, losses);
        Ok(())
    }
}

/// A state that moved ahead of the queue. Unless its events get there, whatever is decided upon it is worthless.
pub(crate) struct Ahead {
    lineage: Option<Lineage>,
}

impl Ahead {
    /// The events stand in the queue.
    pub(crate) fn queued(mut self) {
        self.lineage = None;
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(lineage) = &self.lineage {
            lineage.break_off();
        }
    }
}

/// How far the commits of one lineage have come.
#[derive(Clone)]
pub(crate) struct Commits {
    lineage: Lineage,
    head: Arc<watch::Sender<StreamHead>>,
}

impl Commits {
    fn new(lineage: Lineage) -> Self {
        Self { lineage, head: Arc::new(watch::Sender::default()) }
    }

    /// The last version known to be committed, and its position, 0 while that is unknown.
    pub(crate) fn last(&self) -> StreamHead {
        *self.head.borrow()
    }

    /// Tells that the stream is committed up to `head`.
    pub(crate) fn reach(&self, head: StreamHead) {
        self.head.send_if_modified(|last| {
            let ahead = (head.version, head.position) > (last.version, last.position);
            if ahead {
                *last = head;
            }
            ahead
        });
    }

    /// Tells those who wait that a commit of this lineage failed.
    pub(crate) fn broken(&self) {
        self.lineage.break_off();
        self.head.send_modify(|_| ());
    }

    /// Waits until `version` is committed; false when it will not be.
    pub(crate) async fn reached(&self, version: u64) -> bool {
        let mut head = self.head.subscribe();
        let reached = head.wait_for(|head| head.version >= version || self.lineage.is_broken()).await;
        reached.is_ok_and(|head| head.version >= version)
    }
}
