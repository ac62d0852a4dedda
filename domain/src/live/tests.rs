//! The rules of a live event, as sentences.

mod properties;
mod rules;

use super::*;

const ORGANIZATION: Uuid = Uuid::from_u128(8);
const ORGANIZER: Uuid = Uuid::from_u128(9);

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn at() -> DateTime<Utc> {
    time("2026-11-20T10:00:00Z")
}

fn after_the_end() -> DateTime<Utc> {
    time("2026-12-01T19:00:00Z")
}

fn user(n: u128) -> Uuid {
    Uuid::from_u128(100 + n)
}

fn details(capacity: Option<u32>) -> Details {
    Details {
        title: "How to apply".to_owned(),
        description: String::new(),
        time_zone: "Europe/Paris".to_owned(),
        starts_at: time("2026-12-01T18:00:00Z"),
        ends_at: time("2026-12-01T19:00:00Z"),
        capacity,
        stream_url: None,
    }
}

fn create(details: Details) -> LiveCommand {
    let Details { title, description, time_zone, starts_at, ends_at, capacity, stream_url } = details;
    LiveCommand::Create {
        title,
        description,
        time_zone,
        starts_at,
        ends_at,
        capacity,
        stream_url,
        organization: ORGANIZATION,
        by: ORGANIZER,
        at: at(),
    }
}

fn set_capacity(capacity: Option<u32>) -> LiveCommand {
    LiveCommand::Edit {
        title: None,
        description: None,
        time_zone: None,
        starts_at: None,
        ends_at: None,
        capacity: Some(capacity),
        stream_url: None,
        at: at(),
    }
}

fn created(capacity: Option<u32>) -> LiveEvent {
    let details = details(capacity);
    LiveEvent::Created { organization: ORGANIZATION, details, by: ORGANIZER, at: at() }
}

fn capacity_edited(from: Option<u32>, to: Option<u32>) -> LiveEvent {
    LiveEvent::Edited {
        title: None,
        description: None,
        time_zone: None,
        starts_at: None,
        ends_at: None,
        capacity: Some(crate::change::Change { from, to }),
        stream_url: None,
        at: at(),
    }
}

fn published() -> LiveEvent {
    LiveEvent::Published { at: at() }
}

fn cancelled() -> LiveEvent {
    LiveEvent::Cancelled { reason: "the speaker is ill".to_owned(), at: at() }
}

fn register(n: u128) -> LiveCommand {
    LiveCommand::Register { user: user(n), at: at() }
}

fn unregister(n: u128) -> LiveCommand {
    LiveCommand::Unregister { user: user(n), at: at() }
}

fn confirmed(n: u128) -> LiveEvent {
    LiveEvent::RegistrationConfirmed { user: user(n), at: at() }
}

fn waitlisted(n: u128) -> LiveEvent {
    LiveEvent::RegistrationWaitlisted { user: user(n), at: at() }
}

fn given_up(n: u128) -> LiveEvent {
    LiveEvent::RegistrationCancelled { user: user(n), at: at() }
}

fn promoted(users: &[u128]) -> LiveEvent {
    let users = users.iter().map(|n| user(*n)).collect();
    LiveEvent::RegistrationsPromoted { users, at: at() }
}
