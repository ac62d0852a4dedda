//! The whole transition table: all states, all commands.

use super::*;
use crate::aggregate::DomainEvent;

/// Per state: `command → status after it`. What is not listed is refused.
const TABLE: [(&str, &str); 15] = [
    ("draft", "edit:draft submit:submitted discard:discarded"),
    ("submitted", "start-review:in_review request-changes:changes_requested withdraw:withdrawn assign:submitted"),
    (
        "submitted and assigned",
        "start-review:in_review request-changes:changes_requested withdraw:withdrawn assign:submitted",
    ),
    (
        "in review",
        "request-changes:changes_requested accept:accepted refuse:refused close:closed \
         withdraw:withdrawn assign:in_review",
    ),
    (
        "changes requested before review",
        "edit:changes_requested submit:submitted cancel-change-request:submitted withdraw:withdrawn",
    ),
    (
        "changes requested in review",
        "edit:changes_requested submit:submitted cancel-change-request:in_review withdraw:withdrawn",
    ),
    ("accepted", "reopen:in_review archive:accepted"),
    ("refused", "reopen:in_review archive:refused"),
    ("closed", "reopen:in_review archive:closed"),
    ("withdrawn", "archive:withdrawn"),
    ("discarded", ""),
    ("accepted and archived", ""),
    ("refused and archived", ""),
    ("closed and archived", ""),
    ("withdrawn and archived", ""),
];

const EVENTS: [(&str, &str); 13] = [
    ("edit", "DossierEdited"),
    ("submit", "DossierSubmitted"),
    ("start-review", "ReviewStarted"),
    ("request-changes", "ChangesRequested"),
    ("cancel-change-request", "ChangeRequestCancelled"),
    ("accept", "DossierAccepted"),
    ("refuse", "DossierRefused"),
    ("close", "DossierClosed"),
    ("reopen", "ReviewReopened"),
    ("withdraw", "DossierWithdrawn"),
    ("discard", "DossierDiscarded"),
    ("archive", "DossierArchived"),
    ("assign", "DossierAssigned"),
];

fn history(state: &str) -> Vec<DossierEvent> {
    let refused = DossierEvent::Refused { motivation: text("too late"), by: PRO, at: at() };
    let closed = DossierEvent::Closed { motivation: text("moot"), by: PRO, at: at() };
    let withdrawn = DossierEvent::Withdrawn { reason: None, at: at() };
    let tail = match state.strip_suffix(" and archived").unwrap_or(state) {
        "draft" => return vec![created()],
        "discarded" => return vec![created(), DossierEvent::Discarded { at: at() }],
        "submitted" => return vec![created(), submitted(1)],
        "submitted and assigned" => {
            let assigned = DossierEvent::Assigned { reviewer: PRO, by: PRO, at: at() };
            return vec![created(), submitted(1), assigned];
        }
        "changes requested before review" => {
            return vec![created(), submitted(1), changes_requested()];
        }
        "in review" => return in_review(),
        "changes requested in review" => changes_requested(),
        "accepted" => accepted(),
        "refused" => refused,
        "closed" => closed,
        "withdrawn" => withdrawn,
        other => panic!("no history for {other}"),
    };
    let archived = DossierEvent::Archived { by: OWNER, at: at() };
    let archived = state.ends_with("archived").then_some(archived);
    in_review().into_iter().chain([tail]).chain(archived).collect()
}

fn commands() -> Vec<DossierCommand> {
    use DossierCommand::*;
    let (by, at) = (PRO, at());
    let because = || "because".to_owned();
    vec![
        create(),
        edit_title("Another title"),
        Submit { note: Some(because()), at },
        StartReview { by, at },
        RequestChanges { reason: ChangeReason::Outdated, message: because(), by, at },
        CancelChangeRequest { by, at },
        Accept { motivation: None, by, at },
        Refuse { motivation: because(), by, at },
        Close { motivation: because(), by, at },
        Reopen { reason: because(), by, at },
        Withdraw { reason: None, at },
        Discard { at },
        Archive { by, at },
        Assign { pro: OTHER_PRO, by, at },
    ]
}

fn given_state(state: &str) -> Dossier {
    crate::testing::given::<Dossier>(history(state)).state()
}

#[test]
fn every_state_answers_every_command_as_the_table_says() {
    for (state, row) in TABLE {
        let expected: BTreeMap<&str, &str> = row.split_whitespace().map(|cell| cell.split_once(':').unwrap()).collect();
        for command in commands() {
            let (slug, before) = (command.slug(), given_state(state));
            match (before.decide(command), expected.get(slug)) {
                (Ok(events), Some(after)) => {
                    let [event] = &events[..] else { panic!("{state}, {slug}: {events:?}") };
                    assert!(EVENTS.contains(&(slug, event.event_type())), "{state}, {slug}");
                    let mut dossier = before;
                    dossier.apply(event);
                    assert_eq!(dossier.stage().unwrap().status().as_str(), *after, "{state}, {slug}");
                }
                (Err(DossierError::InvalidTransition { from, command, mut allowed }), None) => {
                    assert_eq!((from, command), (before.stage().unwrap().status(), slug));
                    allowed.sort_unstable();
                    assert_eq!(allowed, expected.keys().copied().collect::<Vec<_>>(), "{state}");
                }
                (answer, expected) => panic!("{state}, {slug}: {answer:?}, expected {expected:?}"),
            }
        }
    }
}

#[test]
fn nothing_but_its_creation_can_happen_to_a_dossier_that_is_not_there() {
    for command in commands() {
        let created = matches!(command, DossierCommand::Create { .. });
        match Dossier::default().decide(command) {
            Ok(events) => assert!(created && events == [super::created()]),
            Err(error) => assert!(!created && error == DossierError::NotFound),
        }
    }
}

#[test]
fn the_table_covers_every_command_and_every_status() {
    let slugs: std::collections::BTreeSet<_> = commands().iter().map(DossierCommand::slug).collect();
    assert_eq!(slugs.len(), 14);
    for status in Status::ALL {
        let covered = TABLE.iter().any(|(state, _)| given_state(state).stage().unwrap().status() == status);
        assert!(covered, "{status:?}");
    }
}
