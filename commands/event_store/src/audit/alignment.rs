//! What became of history: the rows of the log, laid beside the leaves that were sealed of them.

use std::collections::BTreeMap;

use super::leaf::StoredEvent;
use super::tree::Hash;

/// How far an event is looked for from where it should be.
pub(crate) const REACH: u64 = 1000;
/// How often one is: whoever has rewritten everything is found out anyway.
const SEARCHES: u32 = 1000;
/// What is told one by one, of each kind, at most.
pub(crate) const TOLD: usize = 1000;

/// Something that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The event has another content now.
    Edited {
        /// Where.
        position: u64,
        /// What stands there now.
        now: String,
    },
    /// The event is gone.
    Removed {
        /// Where it was.
        position: u64,
    },
    /// An event that was never recorded stands in the log.
    Inserted {
        /// Where.
        position: u64,
        /// What it says it is.
        now: String,
    },
    /// The event stands elsewhere.
    Moved {
        /// Where it was.
        from: u64,
        /// Where it stands now.
        to: u64,
        /// What it is.
        now: String,
    },
}

/// Lays rows beside leaves, in the order of their positions.
#[derive(Default)]
pub(crate) struct Alignment {
    /// How many leaves there are.
    sealed: u64,
    /// By how much what follows was moved: positive after an insertion, negative after a removal.
    shift: i64,
    /// The leaf that has been found last, in their order.
    found: u64,
    /// Leaves that have been passed over, up to [`TOLD`] of them.
    lost: BTreeMap<u64, Hash>,
    /// Rows that no leaf is known for, each with the leaf that it would stand for.
    strangers: Vec<(u64, StoredEvent)>,
    /// Where the last stranger was sealed: whether it alone was moved or all that follows is for the next row to tell.
    doubted: Option<u64>,
    moved: Vec<Change>,
    searches: u32,
    /// Leaves and rows that are not kept to be told one by one.
    more_lost: u64,
    more_strangers: u64,
}

impl Alignment {
    /// Beside so many leaves.
    pub(crate) fn beside(sealed: u64) -> Self {
        Self { sealed, ..Self::default() }
    }

    /// Whether the row may be one of those that were sealed.
    pub(crate) fn concerns(&self, event: &StoredEvent) -> bool {
        let place = self.place(event);
        event.position.min(place) <= self.sealed || self.found < self.sealed && place <= self.sealed + REACH
    }

    /// Whether nothing was moved before the positions from `start` to `end`, which all are as they were sealed; takes
    /// them for found then.
    pub(crate) fn agrees(&mut self, start: u64, end: u64) -> bool {
        let agrees = self.shift == 0 && self.found + 1 == start;
        if agrees {
            self.found = end.max(self.found);
        }
        agrees
    }

    /// Where the row should be, after what was moved before it.
    fn place(&self, event: &StoredEvent) -> u64 {
        event.position.saturating_add_signed(-self.shift)
    }

    /// Lays the next row, whose leaf is `own`, beside the leaves, of which `leaf` knows those around its position.
    pub(crate) fn lay(&mut self, event: &StoredEvent, own: Hash, leaf: impl Fn(u64) -> Option<Hash>) {
        let place = self.place(event);
        let would = |position: u64| if position == event.position { own } else { event.leaf_at(position) };
        let is = |position: u64| leaf(position).is_some_and(|leaf| would(position) == leaf);
        let doubted = self.doubted.take();
        if place > self.found && is(place) {
            return self.find(place, &leaf);
        }
        if let Some(before) = doubted.filter(|before| is(before + 1)) {
            self.strangers.pop();
            self.find(before, &leaf);
            return self.go_on(event, before + 1);
        }
        if let Some(position) = self.search(place, is) {
            if self.lost.remove(&position).is_some() {
                self.moved.push(Change::Moved { from: position, to: event.position, now: event.describe() });
                return;
            }
            if position == self.found + 1 {
                return self.go_on(event, position);
            }
            self.doubted = Some(position).filter(|position| *position > self.found && self.strangers.len() < TOLD);
        }
        if place > self.sealed {
            // Recorded since.
            return;
        }
        match self.strangers.len() < TOLD {
            true => self.strangers.push((place, event.clone())),
            false => self.more_strangers += 1,
        }
    }

    /// Where the row near to `place` was sealed, while looking for it is worth while.
    fn search(&mut self, place: u64, is: impl Fn(u64) -> bool) -> Option<u64> {
        self.searches += 1;
        if self.searches > SEARCHES {
            return None;
        }
        let near = (1..=REACH).flat_map(|distance| [place.checked_sub(distance), place.checked_add(distance)]);
        near.flatten().find(|position| is(*position))
    }

    /// The row follows the leaf found last, and all that come after it are moved as it is.
    fn go_on(&mut self, event: &StoredEvent, position: u64) {
        self.shift = event.position.cast_signed() - position.cast_signed();
        self.found = position;
    }

    /// Goes on after a leaf that was found; those before it were not.
    fn find(&mut self, position: u64, leaf: impl Fn(u64) -> Option<Hash>) {
        for lost in self.found + 1..position {
            self.lose(lost, leaf(lost));
        }
        self.found = position;
    }

    fn lose(&mut self, position: u64, leaf: Option<Hash>) {
        match leaf.filter(|_| self.lost.len() < TOLD) {
            Some(leaf) => drop(self.lost.insert(position, leaf)),
            None => self.more_lost += 1,
        }
    }

    /// The rows up to `position` have been laid: what was not found far before it is lost.
    pub(crate) fn leave_behind(&mut self, position: u64, leaf: impl Fn(u64) -> Option<Hash>) {
        let left = position.saturating_add_signed(-self.shift).saturating_sub(REACH).min(self.sealed);
        if left > self.found {
            self.find(left + 1, leaf);
            self.found = left;
        }
    }

    /// Nothing follows: the leaves that were not found are lost.
    pub(crate) fn end(&mut self, leaf: impl Fn(u64) -> Option<Hash>) {
        if let Some(last) = self.doubted.take() {
            self.strangers.pop();
            self.find(last, &leaf);
        }
        self.find(self.sealed.max(self.found) + 1, leaf);
    }

    /// What was changed, in order, and how much more.
    pub(crate) fn changes(mut self) -> (Vec<Change>, u64) {
        let mut changes = std::mem::take(&mut self.moved);
        let mut edited = Vec::new();
        for (place, event) in std::mem::take(&mut self.strangers) {
            let moved = self.lost.iter().find(|(position, leaf)| event.leaf_at(**position) == **leaf);
            let now = event.describe();
            match moved.map(|(position, _)| *position) {
                Some(from) => {
                    self.lost.remove(&from);
                    changes.push(Change::Moved { from, to: event.position, now });
                }
                None => edited.push((place, event.position, now)),
            }
        }
        for (place, position, now) in edited {
            changes.push(match self.lost.remove(&place) {
                Some(_) => Change::Edited { position: place, now },
                None => Change::Inserted { position, now },
            });
        }
        changes.extend(self.lost.into_keys().map(|position| Change::Removed { position }));
        changes.sort_unstable_by_key(Change::position);
        // What was edited is both.
        (changes, self.more_lost.max(self.more_strangers))
    }
}

impl Change {
    /// Where it begins.
    pub fn position(&self) -> u64 {
        match self {
            Self::Edited { position, .. } | Self::Removed { position } | Self::Inserted { position, .. } => *position,
            Self::Moved { from, to, .. } => *from.min(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(number: u64) -> StoredEvent {
        let texts = ["dossier", "d", "DossierEdited", "1", "{}", "{}"].map(str::to_owned);
        let event_id = Uuid::from_u128(u128::from(number));
        StoredEvent { position: number, event_id, version: number, recorded_at: 0, texts }
    }

    fn changes(tamper: impl Fn(&mut Vec<StoredEvent>)) -> Vec<Change> {
        let sealed: Vec<Hash> = (1..=50).map(|number| event(number).leaf()).collect();
        let mut log: Vec<StoredEvent> = (1..=50).map(event).collect();
        tamper(&mut log);
        log.sort_by_key(|event| event.position);
        let leaf = |position: u64| sealed.get(usize::try_from(position).unwrap().checked_sub(1)?).copied();
        let mut alignment = Alignment::beside(50);
        for event in &log {
            if alignment.concerns(event) {
                alignment.lay(event, event.leaf(), leaf);
            }
        }
        alignment.end(leaf);
        let (changes, more) = alignment.changes();
        assert_eq!(more, 0);
        changes
    }

    fn edit(event: &mut StoredEvent) {
        event.texts[4].push(' ');
    }

    fn stranger(position: u64) -> StoredEvent {
        StoredEvent { position, ..event(999) }
    }

    fn now(number: u64) -> String {
        event(number).describe()
    }

    #[test]
    fn nothing_was_changed() {
        assert_eq!(changes(|_| {}), []);
    }

    #[test]
    fn what_was_edited_is_found() {
        let edited = |position| Change::Edited { position, now: now(position) };
        assert_eq!(changes(|log| edit(&mut log[0])), [edited(1)]);
        assert_eq!(changes(|log| edit(&mut log[49])), [edited(50)]);
        assert_eq!(changes(|log| log[10..13].iter_mut().for_each(edit)), [edited(11), edited(12), edited(13)]);
    }

    #[test]
    fn what_was_removed_is_found_and_renumbering_hides_nothing() {
        assert_eq!(changes(|log| drop(log.remove(6))), [Change::Removed { position: 7 }]);
        assert_eq!(changes(|log| drop(log.pop())), [Change::Removed { position: 50 }]);
        let renumbered = changes(|log| {
            log.drain(6..8);
            log[6..].iter_mut().for_each(|event| event.position -= 2);
        });
        assert_eq!(renumbered, [Change::Removed { position: 7 }, Change::Removed { position: 8 }]);
    }

    #[test]
    fn what_was_inserted_is_found() {
        let inserted = |position| [Change::Inserted { position, now: stranger(position).describe() }];
        let after = changes(|log| {
            log[19..].iter_mut().for_each(|event| event.position += 1);
            log.push(stranger(20));
        });
        assert_eq!(after, inserted(20));
        let first = changes(|log| {
            log.iter_mut().for_each(|event| event.position += 1);
            log.push(stranger(1));
        });
        assert_eq!(first, inserted(1));
        let last = changes(|log| {
            log[49].position = 51;
            log.push(stranger(50));
        });
        assert_eq!(last, inserted(50));
        // What was recorded since is none of it.
        assert_eq!(changes(|log| log.push(stranger(51))), []);
    }

    #[test]
    fn what_was_moved_is_found() {
        let swapped = changes(|log| (log[4].position, log[39].position) = (40, 5));
        let moved = |from, to| Change::Moved { from, to, now: now(from) };
        assert_eq!(swapped.len(), 2);
        assert!(swapped.contains(&moved(5, 40)) && swapped.contains(&moved(40, 5)), "{swapped:?}");
        let neighbours = changes(|log| (log[4].position, log[5].position) = (6, 5));
        assert_eq!(neighbours, [moved(6, 5)]);
        let put_last = changes(|log| {
            log[5..].iter_mut().for_each(|event| event.position -= 1);
            log[4].position = 50;
        });
        assert_eq!(put_last, [moved(5, 50)]);
    }

    #[test]
    fn several_changes_are_told_apart() {
        let found = changes(|log| {
            edit(&mut log[2]);
            log.remove(30);
            log.remove(9);
            log.iter_mut().filter(|event| event.position > 40).for_each(|event| event.position += 1);
            log.push(stranger(41));
        });
        let expected = [
            Change::Edited { position: 3, now: now(3) },
            Change::Removed { position: 10 },
            Change::Removed { position: 31 },
            Change::Inserted { position: 41, now: stranger(41).describe() },
        ];
        assert_eq!(found, expected);
    }
}
