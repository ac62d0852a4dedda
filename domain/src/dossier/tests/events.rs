//! The stored shape of the events.

use super::*;
use crate::aggregate::DomainEvent;

fn samples() -> Vec<DossierEvent> {
    let (by, at) = (PRO, at());
    let list = FieldValue::List(vec![Scalar::Number(2.into()), Scalar::Flag(true)]);
    vec![
        created(),
        DossierEvent::Edited {
            title: Some(Change { from: "A roof".to_owned(), to: "A new roof".to_owned() }),
            category: Some(Change { from: "grant".to_owned(), to: "loan".to_owned() }),
            description: Some(Change { from: Some(text("It leaks")), to: None }),
            fields: [("rooms".to_owned(), Change { from: None, to: Some(mine(list)) })].into(),
            at,
        },
        DossierEvent::Submitted { revision: 2, note: Some(text("nothing to add")), at },
        review_started(),
        changes_requested(),
        DossierEvent::ChangeRequestCancelled { by, at },
        DossierEvent::Accepted { motivation: Some(text("well done")), by, at },
        DossierEvent::Refused { motivation: text("too late"), by, at },
        DossierEvent::Closed { motivation: text("moot"), by, at },
        DossierEvent::ReviewReopened { reason: text("new facts"), by, at },
        DossierEvent::Withdrawn { reason: Some(text("moving away")), at },
        DossierEvent::Discarded { at },
        DossierEvent::Archived { by: OWNER, at },
        DossierEvent::Assigned { reviewer: PRO, by: OTHER_PRO, at },
    ]
}

#[test]
fn every_event_ever_written_is_read_back() {
    crate::golden::check::<Dossier>(&samples());
}

#[test]
fn the_stored_names_are_those_that_this_build_knows() {
    let names: Vec<_> = samples().iter().map(DossierEvent::event_type).collect();
    assert_eq!(names, DossierEvent::TYPES);
    assert!(!DossierEvent::knows("DossierCreated", 2));
    assert!(!DossierEvent::knows("DossierVanished", 1));
}
