//! What holds after any sequence of commands.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Number;

use super::*;

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        "[a-c]{0,2}".prop_map(Scalar::Text),
        (-2i64..3).prop_map(|n| Scalar::Number(n.into())),
        // Eighths, which JSON carries exactly.
        (-8i32..9).prop_map(|n| Scalar::Number(Number::from_f64(f64::from(n) / 8.0).unwrap())),
        any::<bool>().prop_map(Scalar::Flag),
    ]
}

fn field_value() -> impl Strategy<Value = FieldValue> {
    prop_oneof![scalar().prop_map(FieldValue::Scalar), vec(scalar(), 0..3).prop_map(FieldValue::List),]
}

fn some_text() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just(" ".to_owned())]
}

fn pro() -> impl Strategy<Value = Uuid> {
    prop_oneof![5 => Just(PRO), 1 => Just(OTHER_PRO), 1 => Just(OWNER)]
}

fn edit() -> impl Strategy<Value = DossierCommand> {
    let new_fields = btree_map("[a-b]", field_value(), 0..3);
    (option::of(some_text()), option::of(some_text()), option::of(option::of(some_text())), option::of(new_fields))
        .prop_map(|(title, category, description, fields)| DossierCommand::Edit {
            title,
            category,
            description,
            fields,
            at: at(),
        })
}

fn command() -> impl Strategy<Value = DossierCommand> {
    use DossierCommand::*;
    let at = at();
    let note = || option::of(some_text());
    prop_oneof![
        Just(create()),
        edit(),
        note().prop_map(move |note| Submit { note, at }),
        pro().prop_map(move |by| StartReview { by, at }),
        (some_text(), pro()).prop_map(move |(message, by)| RequestChanges {
            reason: ChangeReason::Incorrect,
            message,
            by,
            at
        }),
        pro().prop_map(move |by| CancelChangeRequest { by, at }),
        (note(), pro()).prop_map(move |(motivation, by)| Accept { motivation, by, at }),
        (some_text(), pro()).prop_map(move |(motivation, by)| Refuse { motivation, by, at }),
        (some_text(), pro()).prop_map(move |(motivation, by)| Close { motivation, by, at }),
        (some_text(), pro()).prop_map(move |(reason, by)| Reopen { reason, by, at }),
        note().prop_map(move |reason| Withdraw { reason, at }),
        Just(Discard { at }),
        pro().prop_map(move |by| Archive { by, at }),
        (pro(), pro()).prop_map(move |(pro, by)| Assign { pro, by, at }),
    ]
}

fn status(dossier: &Dossier) -> Option<Status> {
    dossier.stage().map(|stage| stage.status())
}

/// Runs the commands, and gives every state with the event that led to it.
fn run(commands: Vec<DossierCommand>) -> Vec<(DossierEvent, Dossier)> {
    let mut dossier = Dossier::default();
    let mut steps = vec![];
    for command in commands {
        for event in dossier.decide(command).unwrap_or_default() {
            dossier.apply(&event);
            steps.push((event, dossier.clone()));
        }
    }
    steps
}

fn commands() -> impl Strategy<Value = Vec<DossierCommand>> {
    vec(command(), 0..80).prop_map(|mut commands| {
        commands.insert(0, create());
        commands
    })
}

proptest! {
    #[test]
    fn replaying_the_stored_events_gives_the_same_state(commands in commands()) {
        let steps = run(commands);
        let mut replayed = Dossier::default();
        for (event, state) in steps {
            let stored = serde_json::to_string(&event).unwrap();
            replayed.apply(&serde_json::from_str(&stored).unwrap());
            prop_assert_eq!(&replayed, &state);
        }
    }

    #[test]
    fn requests_reviews_and_decisions_keep_their_order(commands in commands()) {
        let (mut open_requests, mut revision, mut before) = (0, 0, None);
        for (event, state) in run(commands) {
            let after = status(&state);
            match event {
                DossierEvent::ChangesRequested { .. } => open_requests += 1,
                DossierEvent::ChangeRequestCancelled { .. } => open_requests -= 1,
                DossierEvent::Submitted { revision: submitted, .. } => {
                    revision += 1;
                    prop_assert_eq!(submitted, revision);
                    open_requests = 0;
                }
                DossierEvent::Withdrawn { .. } => open_requests = 0,
                _ => {}
            }
            prop_assert_eq!(open_requests, i32::from(after == Some(Status::ChangesRequested)));
            let decided = [Some(Status::Accepted), Some(Status::Refused), Some(Status::Closed)];
            if decided.contains(&after) && before != after {
                prop_assert_eq!(before, Some(Status::InReview));
            }
            let reviewer = state.stage().unwrap().reviewer();
            prop_assert_ne!(reviewer, Some(OWNER));
            if after == Some(Status::InReview) || decided.contains(&after) {
                prop_assert!(reviewer.is_some());
            }
            before = after;
        }
    }

    #[test]
    fn an_edit_always_changes_something_and_again_nothing(
        commands in commands(),
        edit in edit(),
    ) {
        let before = run(commands).pop().unwrap().1;
        if let Ok(events) = before.decide(edit.clone()) {
            let mut after = before.clone();
            events.iter().for_each(|event| after.apply(event));
            prop_assert_eq!(events.is_empty(), after.content() == before.content());
            prop_assert_eq!(after.decide(edit), Ok(vec![]));
        }
    }

    #[test]
    fn what_is_finished_for_good_stays_as_it_is(commands in commands()) {
        let mut finished: Option<Dossier> = None;
        for (_, state) in run(commands) {
            prop_assert!(finished.is_none());
            let stage = state.stage().unwrap();
            let discarded = status(&state) == Some(Status::Discarded);
            if discarded || matches!(
                stage,
                Stage::Decided { archived: true, .. } | Stage::Withdrawn { archived: true, .. }
            ) {
                finished = Some(state);
            }
        }
    }
}
