//! The guards of the transition table, one sentence each.

use super::*;
use crate::access::{Actor, Denial, Role};
use crate::rejection::{FieldError, Rejection, RejectionKind};
use crate::testing::given;

fn submit(note: Option<&str>) -> DossierCommand {
    DossierCommand::Submit { note: note.map(str::to_owned), at: at() }
}

fn edit_fields(pairs: &[(&str, &str)]) -> DossierCommand {
    DossierCommand::Edit { title: None, category: None, description: None, fields: Some(fields(pairs)), at: at() }
}

/// The pointers and codes of a refusal for its content.
fn complaints(result: Result<Vec<DossierEvent>, DossierError>) -> Vec<(String, String)> {
    let Err(DossierError::Invalid(errors)) = result else { panic!("{result:?}") };
    errors.into_iter().map(|FieldError { pointer, code, .. }| (pointer, code)).collect()
}

fn complaint(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[test]
fn a_title_is_kept_trimmed() {
    given::<Dossier>([created()]).when(edit_title("  A new roof \n")).then([edited_title("A roof", "A new roof")]);
}

#[test]
fn a_title_is_neither_empty_nor_longer_than_200_characters() {
    let draft = given::<Dossier>([created()]).state();
    assert_eq!(complaints(draft.decide(edit_title(" "))), complaint("/title", "field.too_short"));
    let long = "é".repeat(201);
    assert_eq!(complaints(draft.decide(edit_title(&long))), complaint("/title", "field.too_long"));
    assert!(draft.decide(edit_title(&"é".repeat(200))).is_ok());
    assert_eq!(complaints(draft.decide(edit_title("a\0b"))), complaint("/title", "field.nul"));
}

#[test]
fn field_names_values_and_numbers_are_limited() {
    let draft = given::<Dossier>([created()]).state();
    let refused = |pairs: &[(&str, &str)]| complaints(draft.decide(edit_fields(pairs)));
    assert_eq!(refused(&[("a/b", "")]), complaint("/fields/a~1b", "field.bad_name"));
    assert_eq!(refused(&[("1a", "")]), complaint("/fields/1a", "field.bad_name"));
    assert_eq!(refused(&[("", "")]), complaint("/fields/", "field.bad_name"));
    assert_eq!(refused(&[("a", "x\0")]), complaint("/fields/a", "field.nul"));
    assert_eq!(refused(&[("a", &"x".repeat(2_001))]), complaint("/fields/a", "field.too_long"));
    let many: Vec<String> = (0..101).map(|n| format!("k{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    assert_eq!(refused(&many), complaint("/fields", "field.too_many"));
    let big: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let big: Vec<(&str, String)> = big.iter().map(|k| (k.as_str(), "é".repeat(1_999))).collect();
    let big: Vec<(&str, &str)> = big.iter().map(|(key, value)| (*key, value.as_str())).collect();
    assert_eq!(refused(&big), complaint("/fields", "field.too_long"));
}

#[test]
fn a_field_is_a_scalar_or_a_list_of_scalars() {
    let read = |json: &str| serde_json::from_str::<FieldValue>(json);
    for json in [r#""a""#, "1", "1.5", "-3", "true", "[]", r#"["a",2,false]"#] {
        assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
    }
    for json in ["null", "{}", "[null]", "[[1]]", r#"{"a":1}"#] {
        assert!(read(json).is_err(), "{json}");
    }
}

#[test]
fn an_edit_records_per_field_what_was_and_what_is() {
    let change = |from: Option<&str>, to: Option<&str>| Change {
        from: from.map(|value| mine(value.into())),
        to: to.map(|value| mine(value.into())),
    };
    given::<Dossier>([created()]).when(edit_fields(&[("city", "Paris"), ("floor", "2")])).then([
        DossierEvent::Edited {
            title: None,
            category: None,
            description: None,
            fields: [
                ("city".to_owned(), change(Some("Lyon"), Some("Paris"))),
                ("floor".to_owned(), change(None, Some("2"))),
                ("rooms".to_owned(), change(Some("3"), None)),
            ]
            .into(),
            at: at(),
        },
    ]);
}

#[test]
fn an_edit_that_changes_nothing_is_no_event() {
    given::<Dossier>([created()]).when(edit_title("A roof ")).then_nothing();
    given::<Dossier>([created()]).when(edit_fields(&[("rooms", "3"), ("city", "Lyon")])).then_nothing();
}

#[test]
fn a_description_can_be_removed() {
    given::<Dossier>([created()])
        .when(DossierCommand::Edit { title: None, category: None, description: Some(None), fields: None, at: at() })
        .then([DossierEvent::Edited {
            title: None,
            category: None,
            description: Some(Change { from: Some(text("It leaks")), to: None }),
            fields: BTreeMap::new(),
            at: at(),
        }]);
}

#[test]
fn after_a_change_request_submitting_needs_an_edit_or_a_note() {
    let asked = || in_review().into_iter().chain([changes_requested()]);
    given::<Dossier>(asked()).when(submit(None)).then_rejected(DossierError::NothingChanged);
    given::<Dossier>(asked().chain([edited_title("A roof", "A new roof")])).when(submit(None)).then([submitted(2)]);
    given::<Dossier>(asked()).when(submit(Some("it is all there"))).then([DossierEvent::Submitted {
        revision: 2,
        note: Some(text("it is all there")),
        at: at(),
    }]);
}

#[test]
fn an_edit_before_the_change_request_does_not_count() {
    let edited_first = [created(), edited_title("A roof", "A new roof"), submitted(1)];
    given::<Dossier>(edited_first.into_iter().chain([changes_requested()]))
        .when(submit(None))
        .then_rejected(DossierError::NothingChanged);
}

#[test]
fn the_reviewer_stays_after_a_resubmission() {
    let dossier = given::<Dossier>(in_review().into_iter().chain([
        changes_requested(),
        edited_title("A roof", "A new roof"),
        submitted(2),
    ]));
    assert_eq!(dossier.state().stage(), Some(&Stage::Submitted { reviewer: Some(PRO) }));
}

#[test]
fn only_the_reviewer_decides() {
    for by in [OTHER_PRO, OWNER] {
        let error = if by == OWNER { DossierError::OwnReview } else { DossierError::NotTheReviewer };
        let accept = DossierCommand::Accept { motivation: None, by, at: at() };
        given::<Dossier>(in_review()).when(accept).then_rejected(error);
    }
}

#[test]
fn the_owner_never_becomes_the_reviewer() {
    given::<Dossier>([created(), submitted(1)])
        .when(DossierCommand::StartReview { by: OWNER, at: at() })
        .then_rejected(DossierError::OwnReview);
    given::<Dossier>([created(), submitted(1)])
        .when(DossierCommand::Assign { pro: OWNER, by: PRO, at: at() })
        .then_rejected(DossierError::OwnReview);
}

#[test]
fn assigning_the_reviewer_again_is_no_event() {
    given::<Dossier>(in_review()).when(DossierCommand::Assign { pro: PRO, by: PRO, at: at() }).then_nothing();
}

#[test]
fn refusing_and_closing_need_a_motivation() {
    let (motivation, by, at) = (" ".to_owned(), PRO, at());
    for command in [
        DossierCommand::Refuse { motivation: motivation.clone(), by, at },
        DossierCommand::Close { motivation, by, at },
    ] {
        let result = given::<Dossier>(in_review()).state().decide(command);
        assert_eq!(complaints(result), complaint("/motivation", "field.too_short"));
    }
}

#[test]
fn a_refused_transition_says_where_it_stands_and_what_is_possible() {
    let error = given::<Dossier>([created()])
        .state()
        .decide(DossierCommand::Accept { motivation: None, by: PRO, at: at() })
        .unwrap_err();
    assert_eq!(error.code(), "dossier.invalid_transition");
    let (current_state, allowed_commands) = ("draft", vec!["edit", "submit", "discard"]);
    assert_eq!(error.kind(), RejectionKind::Transition { current_state, allowed_commands });
    assert_eq!(error.to_string(), "`accept` is not possible on a dossier that is draft");
    assert_eq!(error.french(), "« accept » n'est pas possible sur un dossier à l'état « brouillon »");
}

#[test]
fn a_stranger_learns_nothing_and_its_owner_may_not_review() {
    let actor = |id, roles: &[Role]| Actor::new(id, roles.iter().copied().collect(), ORGANIZATION);
    let dossier = given::<Dossier>([created(), submitted(1)]).state();
    let start = |by| DossierCommand::StartReview { by, at: at() };
    let both = [Role::Applicant, Role::Pro];
    assert_eq!(dossier.authorize(&actor(PRO, &both), &start(PRO)), Ok(Role::Pro));
    assert_eq!(dossier.authorize(&actor(OWNER, &both), &start(OWNER)), Err(Denial::Forbidden));
    let stranger = actor(OTHER_PRO, &[Role::Applicant]);
    assert_eq!(dossier.authorize(&stranger, &submit(None)), Err(Denial::Hidden));
    assert_eq!(Dossier::default().authorize(&stranger, &submit(None)), Err(Denial::Hidden));
    assert_eq!(Dossier::default().authorize(&actor(OWNER, &both), &create()), Ok(Role::Applicant));
}

#[test]
fn no_debug_output_shows_a_persons_words() {
    let shown = format!("{:?} {:?} {:?}", create(), created(), given::<Dossier>([created()]).state());
    assert!(!shown.contains("leaks") && !shown.contains("Lyon"), "{shown}");
}
