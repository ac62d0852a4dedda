//! The rules of a dossier, as sentences.

mod events;
mod guards;
mod properties;
mod transitions;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::*;
use crate::change::Change;
use crate::personal::Personal;

const OWNER: Uuid = Uuid::from_u128(1);
const PRO: Uuid = Uuid::from_u128(2);
const OTHER_PRO: Uuid = Uuid::from_u128(3);
const ORGANIZATION: Uuid = Uuid::from_u128(9);

fn at() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn mine<T>(value: T) -> Personal<T> {
    Personal::new(OWNER, value)
}

fn text(text: &str) -> Personal<String> {
    mine(text.to_owned())
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, FieldValue> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
}

fn create() -> DossierCommand {
    DossierCommand::Create {
        owner: OWNER,
        organization: ORGANIZATION,
        category: "grant".to_owned(),
        title: "A roof".to_owned(),
        description: Some("It leaks".to_owned()),
        fields: fields(&[("city", "Lyon"), ("rooms", "3")]),
        at: at(),
    }
}

fn edit_title(title: &str) -> DossierCommand {
    DossierCommand::Edit { title: Some(title.to_owned()), category: None, description: None, fields: None, at: at() }
}

fn created() -> DossierEvent {
    DossierEvent::Created {
        owner: OWNER,
        organization: ORGANIZATION,
        category: "grant".to_owned(),
        title: "A roof".to_owned(),
        description: Some(text("It leaks")),
        fields: [("city", "Lyon"), ("rooms", "3")].map(|(key, value)| (key.to_owned(), mine(value.into()))).into(),
        at: at(),
    }
}

fn edited_title(from: &str, to: &str) -> DossierEvent {
    DossierEvent::Edited {
        title: Some(Change { from: from.to_owned(), to: to.to_owned() }),
        category: None,
        description: None,
        fields: BTreeMap::new(),
        at: at(),
    }
}

fn submitted(revision: u32) -> DossierEvent {
    DossierEvent::Submitted { revision, note: None, at: at() }
}

fn review_started() -> DossierEvent {
    DossierEvent::ReviewStarted { reviewer: PRO, at: at() }
}

fn changes_requested() -> DossierEvent {
    let message = text("the plan is missing");
    DossierEvent::ChangesRequested { reason: ChangeReason::Incomplete, message, by: PRO, at: at() }
}

fn accepted() -> DossierEvent {
    DossierEvent::Accepted { motivation: None, by: PRO, at: at() }
}

fn in_review() -> Vec<DossierEvent> {
    vec![created(), submitted(1), review_started()]
}
