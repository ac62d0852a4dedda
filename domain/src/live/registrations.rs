//! Who comes to a live event and who waits, in the order of their coming.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::LiveEvent;

/// How many promotions one event records at most, so that it stays small on the bus.
const PROMOTIONS_PER_EVENT: usize = 500;

/// The registrations of one live event; every question about one user or one seat costs O(log n).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registrations {
    places: BTreeMap<Uuid, Place>,
    waiting: BTreeMap<u64, Uuid>,
    next_turn: u64,
}

/// What a registered user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A seat.
    Confirmed,
    /// A turn in the waiting list: who has the lowest is next.
    Waiting(u64),
}

impl Registrations {
    /// What the user has, if registered.
    pub fn place(&self, user: Uuid) -> Option<Place> {
        self.places.get(&user).copied()
    }

    /// How many have a seat.
    pub fn confirmed(&self) -> usize {
        self.places.len() - self.waiting.len()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many more could have a seat; no capacity is no limit.
    pub(super) fn free_seats(&self, capacity: Option<u32>) -> usize {
        capacity.map_or(usize::MAX, |capacity| (capacity as usize).saturating_sub(self.confirmed()))
    }

    /// The events that give `seats` to the head of the waiting list.
    pub(super) fn promotions(&self, seats: usize, at: DateTime<Utc>) -> impl Iterator<Item = LiveEvent> {
        let next: Vec<Uuid> = self.waiting.values().take(seats).copied().collect();
        let events: Vec<_> = next
            .chunks(PROMOTIONS_PER_EVENT)
            .map(|users| LiveEvent::RegistrationsPromoted { users: users.to_vec(), at })
            .collect();
        events.into_iter()
    }

    pub(super) fn confirm(&mut self, user: Uuid) {
        self.cancel(user);
        self.places.insert(user, Place::Confirmed);
    }

    pub(super) fn wait(&mut self, user: Uuid) {
        self.cancel(user);
        self.places.insert(user, Place::Waiting(self.next_turn));
        self.waiting.insert(self.next_turn, user);
        self.next_turn += 1;
    }

    pub(super) fn cancel(&mut self, user: Uuid) {
        if let Some(Place::Waiting(turn)) = self.places.remove(&user) {
            self.waiting.remove(&turn);
        }
    }
}
