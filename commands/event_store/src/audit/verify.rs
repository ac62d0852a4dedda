//! Verifying the log: the tree is computed anew from every row, and compared with what was signed.

use sqlx::PgPool;

use super::alignment::{Alignment, Change, REACH};
use super::head::{SignedHead, VerifierKey};
use super::leaf::StoredEvent;
use super::tiles;
use super::tree::{Frontier, Hash};
use super::{heads, keys, stored};
use crate::{EventStore, StoreError};

/// Events read at once.
const CHUNK: u64 = 8192;

/// A head that does not agree with the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// No key of this log signed it.
    Unsigned {
        /// How many events it covers.
        size: u64,
    },
    /// It is of another log.
    Foreign {
        /// Which.
        origin: String,
    },
    /// It covers more events than there are: the log was cut off.
    Truncated {
        /// How many events it covers.
        size: u64,
        /// How many there are.
        log: u64,
    },
    /// History up to it is another than was signed.
    Rewritten {
        /// How many events it covers.
        size: u64,
        /// Up to here the log agrees with what was signed.
        agreed: u64,
    },
}

/// What verifying found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many events there are.
    pub events: u64,
    /// How many of them the newest head covers.
    pub sealed: u64,
    /// How many heads were compared.
    pub heads: usize,
    /// Events that are not as they were sealed, in order; the first thousand of each kind.
    pub changes: Vec<Change>,
    /// How many more.
    pub more: u64,
    /// Heads that do not agree with the log.
    pub contradictions: Vec<Contradiction>,
    /// The tree that is kept beside the log is not the one that was signed: changes cannot be told one by one.
    pub tree_changed: bool,
    /// A position that is missing among events that no head covers yet.
    pub missing: Option<u64>,
}

impl Verified {
    /// Whether history is as it was signed.
    pub fn is_intact(&self) -> bool {
        let told = self.changes.is_empty() && self.contradictions.is_empty() && self.missing.is_none();
        told && self.more == 0 && !self.tree_changed
    }
}

impl EventStore {
    /// Computes the tree from the log, and compares it with the tree that was sealed, with every head of the database
    /// and with those that were `kept` elsewhere, signed by a key of this log or by one that is `known`. Tells how far it
    /// is: events done, events in all.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer; what was tampered with is no error but found.
    pub async fn verify_log(
        &self,
        kept: &[SignedHead],
        known: &[VerifierKey],
        progress: impl Fn(u64, u64),
    ) -> Result<Verified, StoreError> {
        let mut connection = self.inner.reads.acquire().await?;
        let origin = self.audit_origin();
        let own = keys::load(&mut connection, self.vault(), &origin).await?;
        let trusted: Vec<VerifierKey> =
            own.iter().map(|key| key.key.verifier().clone()).chain(known.iter().cloned()).collect();
        let stored = heads::all(&mut connection, &origin).await?;
        let events = self.head().await?;
        let sealed = stored.last().map_or(0, |head| head.head.size);
        let mut verified = Verified { events, sealed, heads: stored.len() + kept.len(), ..Verified::default() };
        let mut heads: Vec<&SignedHead> = Vec::new();
        for head in stored.iter().chain(kept) {
            match doubt(head, &origin, &trusted, events) {
                Some(contradiction) => verified.contradictions.push(contradiction),
                None => heads.push(head),
            }
        }
        heads.sort_by_key(|head| head.head.size);
        drop(connection);
        let end = events.max(sealed);
        let mut pass = Pass::new(&heads, sealed);
        let read = |after: u64| (after < end).then(|| tokio::spawn(chunk(self.inner.reads.clone(), after, sealed)));
        let (mut after, mut reading) = (0, read(0));
        while let Some(chunk) = reading {
            let (rows, leaves) = chunk.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
            // The next are read while these are hashed.
            reading = read(after + CHUNK);
            pass.take(after, &rows, leaves);
            after += CHUNK;
            progress(after.min(events), events);
        }
        Ok(pass.finish(verified))
    }
}

/// The rows of the next positions, and the leaves that were sealed of them and around them.
async fn chunk(reads: PgPool, after: u64, sealed: u64) -> Result<(Vec<StoredEvent>, Leaves), StoreError> {
    let mut connection = reads.acquire().await?;
    let rows = stored::read(&mut connection, after, after + CHUNK).await?;
    let first = after.saturating_sub(2 * REACH) + 1;
    let end = (after + CHUNK + 2 * REACH).min(sealed) + 1;
    let hashes = if first < end { tiles::leaves(&mut connection, first..end).await? } else { Vec::new() };
    Ok((rows, Leaves { first, hashes }))
}

/// What speaks against a head before the log is read.
fn doubt(head: &SignedHead, origin: &str, trusted: &[VerifierKey], events: u64) -> Option<Contradiction> {
    let size = head.head.size;
    if head.head.origin != origin {
        return Some(Contradiction::Foreign { origin: head.head.origin.clone() });
    }
    if !trusted.iter().any(|key| head.is_signed_by(key)) {
        return Some(Contradiction::Unsigned { size });
    }
    (size > events).then_some(Contradiction::Truncated { size, log: events })
}

/// Leaves as they were sealed, of positions side by side.
#[derive(Default)]
struct Leaves {
    first: u64,
    hashes: Vec<Hash>,
}

impl Leaves {
    fn at(&self, position: u64) -> Option<Hash> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.hashes.get(index).copied()
    }
}

/// One walk along the log.
struct Pass<'a> {
    heads: &'a [&'a SignedHead],
    sealed: u64,
    /// The tree of the rows as they are.
    recorded: Growing,
    /// The tree of the leaves as they were sealed, once that is another.
    kept: Option<Growing>,
    alignment: Alignment,
    /// The last leaves.
    tail: Leaves,
}

/// A tree that grows along the log, and the first head that it does not agree with.
#[derive(Clone, Default)]
struct Growing {
    tree: Frontier,
    /// The next head to compare with.
    next: usize,
    contradicted: Option<u64>,
    /// A leaf is missing: what follows cannot be compared.
    torn: bool,
}

impl Growing {
    fn push(&mut self, leaf: Hash, heads: &[&SignedHead]) {
        self.tree.push(leaf);
        while let Some(head) = heads.get(self.next).filter(|head| head.head.size == self.tree.size()) {
            self.next += 1;
            if head.head.root != self.tree.root() {
                self.contradicted = self.contradicted.or(Some(head.head.size));
            }
        }
    }

    /// The first head that what was pushed does not lead to.
    fn contradicted(&self, heads: &[&SignedHead]) -> Option<u64> {
        self.contradicted.or_else(|| heads.get(self.next).map(|head| head.head.size))
    }
}

impl<'a> Pass<'a> {
    fn new(heads: &'a [&'a SignedHead], sealed: u64) -> Self {
        let (recorded, alignment, tail) = (Growing::default(), Alignment::beside(sealed), Leaves::default());
        Self { heads, sealed, recorded, kept: None, alignment, tail }
    }

    fn take(&mut self, after: u64, rows: &[StoredEvent], leaves: Leaves) {
        let end = (after + CHUNK).min(self.sealed);
        let sealed: Vec<Hash> = (after + 1..=end).map_while(|position| leaves.at(position)).collect();
        let recorded: Vec<Hash> = rows.iter().map(StoredEvent::leaf).collect();
        let covered = rows.partition_point(|row| row.position <= self.sealed);
        let as_sealed = recorded[..covered] == sealed[..] && sealed.len() as u64 == end.saturating_sub(after);
        if !as_sealed && self.kept.is_none() {
            self.kept = Some(self.recorded.clone());
        }
        if let Some(kept) = &mut self.kept {
            kept.torn |= (sealed.len() as u64) < end.saturating_sub(after);
            if !kept.torn {
                sealed.iter().for_each(|leaf| kept.push(*leaf, self.heads));
            }
        }
        for (row, leaf) in rows.iter().zip(&recorded) {
            if row.position != self.recorded.tree.size() + 1 {
                self.recorded.torn = true;
            }
            if !self.recorded.torn {
                self.recorded.push(*leaf, self.heads);
            }
        }
        if !as_sealed || !self.alignment.agrees(after + 1, end) {
            for (row, leaf) in rows.iter().zip(&recorded) {
                if self.alignment.concerns(row) {
                    self.alignment.lay(row, *leaf, |position| leaves.at(position));
                }
            }
            self.alignment.leave_behind(after + CHUNK, |position| leaves.at(position));
        }
        if !leaves.hashes.is_empty() {
            self.tail = leaves;
        }
    }

    fn finish(mut self, mut verified: Verified) -> Verified {
        self.alignment.end(|position| self.tail.at(position));
        let (changes, more) = self.alignment.changes();
        verified.tree_changed = self
            .kept
            .as_ref()
            .is_some_and(|kept| kept.torn || kept.contradicted(self.heads).is_some_and(|size| size <= self.sealed));
        if !verified.tree_changed {
            (verified.changes, verified.more) = (changes, more);
        }
        // What no head covers yet has to be whole, at least.
        let reached = self.recorded.tree.size();
        verified.missing = Some(reached + 1).filter(|_| self.recorded.torn && reached >= self.sealed);
        if let Some(size) = self.recorded.contradicted(self.heads) {
            let agreed = self.heads.iter().map(|head| head.head.size).filter(|agreed| *agreed < size).max();
            verified.contradictions.push(Contradiction::Rewritten { size, agreed: agreed.unwrap_or(0) });
        }
        tell_once(&mut verified.contradictions);
        verified
    }
}

/// Of all heads that cover more than there is, the largest says enough.
fn tell_once(contradictions: &mut Vec<Contradiction>) {
    let truncated = |contradiction: &Contradiction| match contradiction {
        Contradiction::Truncated { size, .. } => Some(*size),
        _ => None,
    };
    let largest = contradictions.iter().filter_map(truncated).max();
    let mut told = false;
    contradictions.retain(|contradiction| match truncated(contradiction) {
        Some(size) if Some(size) != largest => false,
        Some(_) => !std::mem::replace(&mut told, true),
        None => true,
    });
}
