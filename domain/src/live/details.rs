//! What a live event is about, when it takes place, and for how many.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use super::{LiveCommand, LiveError, LiveEvent};
use crate::change::Change;
use crate::rejection::{FieldError, check_text};

/// What the organisers announce; public, but for the stream's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Its title.
    pub title: String,
    /// Its description, possibly empty.
    pub description: String,
    /// The IANA time zone it is announced in: `Europe/Paris`.
    pub time_zone: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it is over.
    pub ends_at: DateTime<Utc>,
    /// How many seats there are; none is no limit.
    pub capacity: Option<u32>,
    /// Where it can be watched.
    pub stream_url: Option<String>,
}

impl Details {
    /// Checks all of them; pointers are those of the routes.
    pub(super) fn check(&self) -> Result<(), LiveError> {
        let mut errors = vec![];
        let mut wrong = |pointer: &str, code, detail: &str| {
            errors.push(FieldError::new(pointer, code, detail));
        };
        if !is_time_zone(&self.time_zone) {
            wrong("/timeZone", "field.time_zone", "must be an IANA time zone, such as Europe/Paris");
        }
        if self.capacity == Some(0) {
            wrong("/capacity", "field.out_of_range", "must be at least 1, or null for no limit");
        }
        if self.stream_url.as_deref().is_some_and(|url| !is_web_address(url)) {
            wrong("/streamUrl", "field.url", "must be an http or https address");
        }
        self.check_times(&mut errors);
        check_text(&mut errors, "/title", &self.title, 1, 200);
        check_text(&mut errors, "/description", &self.description, 0, 10_000);
        if errors.is_empty() { Ok(()) } else { Err(LiveError::Invalid(errors)) }
    }

    fn check_times(&self, errors: &mut Vec<FieldError>) {
        let mut wrong = |pointer: &str, detail: &str| {
            errors.push(FieldError::new(pointer, "field.out_of_range", detail));
        };
        for (pointer, time) in [("/startsAt", self.starts_at), ("/endsAt", self.ends_at)] {
            if !(1970..=9999).contains(&time.year()) {
                wrong(pointer, "must lie between the years 1970 and 9999");
            }
        }
        if self.ends_at <= self.starts_at {
            wrong("/endsAt", "must be after the start");
        }
    }

    /// The event of an edit, the details after it and its time; nothing when nothing changes.
    pub(super) fn edit(&self, command: LiveCommand) -> Result<Option<(LiveEvent, Self, DateTime<Utc>)>, LiveError> {
        let LiveCommand::Edit { title, description, time_zone, starts_at, ends_at, capacity, stream_url, at } = command
        else {
            return Ok(None);
        };
        let new = Self {
            title: title.map_or_else(|| self.title.clone(), |title| title.trim().to_owned()),
            description: description.unwrap_or_else(|| self.description.clone()),
            time_zone: time_zone.unwrap_or_else(|| self.time_zone.clone()),
            starts_at: starts_at.unwrap_or(self.starts_at),
            ends_at: ends_at.unwrap_or(self.ends_at),
            capacity: capacity.unwrap_or(self.capacity),
            stream_url: stream_url.unwrap_or_else(|| self.stream_url.clone()),
        };
        new.check()?;
        Ok((*self != new).then(|| (self.edited(&new, at), new, at)))
    }

    fn edited(&self, new: &Self, at: DateTime<Utc>) -> LiveEvent {
        LiveEvent::Edited {
            title: Change::between(&self.title, new.title.clone()),
            description: Change::between(&self.description, new.description.clone()),
            time_zone: Change::between(&self.time_zone, new.time_zone.clone()),
            starts_at: Change::between(&self.starts_at, new.starts_at),
            ends_at: Change::between(&self.ends_at, new.ends_at),
            capacity: Change::between(&self.capacity, new.capacity),
            stream_url: Change::between(&self.stream_url, new.stream_url.clone()),
            at,
        }
    }

    pub(super) fn apply(&mut self, event: &LiveEvent) {
        fn set<T: Clone>(value: &mut T, change: &Option<Change<T>>) {
            if let Some(change) = change {
                value.clone_from(&change.to);
            }
        }
        let LiveEvent::Edited { title, description, time_zone, starts_at, ends_at, capacity, stream_url, .. } = event
        else {
            return;
        };
        set(&mut self.title, title);
        set(&mut self.description, description);
        set(&mut self.time_zone, time_zone);
        set(&mut self.starts_at, starts_at);
        set(&mut self.ends_at, ends_at);
        set(&mut self.capacity, capacity);
        set(&mut self.stream_url, stream_url);
    }
}

/// Whether the name could be one of the IANA database.
fn is_time_zone(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-');
    let part = |part: &str| !part.is_empty() && part.chars().all(allowed);
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.split('/').all(part)
}

fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    url.len() <= 2_000
        && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}
