//! The rules of a post, as sentences.

use chrono::{DateTime, Utc};

use super::*;
use crate::aggregate::DomainEvent;
use crate::testing::given;

const AUTHOR: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const ORGANIZATION: Uuid = Uuid::from_u128(9);

fn at() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn text(text: &str) -> Personal<String> {
    Personal::new(AUTHOR, text.to_owned())
}

fn publish(body: &str) -> PostCommand {
    let (author, organization) = (AUTHOR, ORGANIZATION);
    PostCommand::Publish { author, organization, body: body.to_owned(), at: at() }
}

fn edit(body: &str) -> PostCommand {
    PostCommand::Edit { body: body.to_owned(), at: at() }
}

fn published() -> PostEvent {
    let (author, organization) = (AUTHOR, ORGANIZATION);
    PostEvent::Published { author, organization, body: text("hello"), at: at() }
}

fn edited() -> PostEvent {
    PostEvent::Edited { from: text("hello"), to: text("hello all"), at: at() }
}

fn deleted() -> PostEvent {
    PostEvent::Deleted { at: at() }
}

#[test]
fn a_post_is_published_edited_and_deleted() {
    given::<Post>([]).when(publish("hello")).then([published()]);
    given::<Post>([published()]).when(edit("hello all")).then([edited()]);
    given::<Post>([published()]).when(PostCommand::Delete { at: at() }).then([deleted()]);
}

#[test]
fn an_unchanged_edit_is_no_event() {
    given::<Post>([published()]).when(edit("hello")).then_nothing();
    given::<Post>([published(), edited()]).when(edit("hello all")).then_nothing();
}

#[test]
fn a_post_that_is_not_there_takes_no_orders() {
    for history in [vec![], vec![published(), deleted()]] {
        given::<Post>(history.clone()).when(edit("x")).then_rejected(PostError::NotFound);
        let delete = PostCommand::Delete { at: at() };
        given::<Post>(history).when(delete).then_rejected(PostError::NotFound);
    }
    for history in [vec![published()], vec![published(), deleted()]] {
        given::<Post>(history).when(publish("x")).then_rejected(PostError::AlreadyPublished);
    }
}

#[test]
fn a_text_has_1_to_10000_characters_and_no_nul() {
    let long = "é".repeat(10_001);
    for (body, code) in [(" \n", "field.too_short"), (long.as_str(), "field.too_long"), ("a\0", "field.nul")] {
        let result = Post::default().decide(publish(body));
        let Err(PostError::Invalid(errors)) = result else { panic!("{result:?}") };
        assert_eq!((errors[0].pointer.as_str(), errors[0].code.as_str()), ("/body", code));
    }
    assert!(Post::default().decide(publish(&"é".repeat(10_000))).is_ok());
}

#[test]
fn only_its_author_changes_it_and_no_one_sees_it_deleted() {
    let actor = |id| Actor::new(id, [Role::Applicant].into_iter().collect(), ORGANIZATION);
    let post = given::<Post>([published()]).state();
    assert_eq!(post.authorize(&actor(AUTHOR), &edit("x")), Ok(Role::Applicant));
    assert_eq!(post.authorize(&actor(OTHER), &edit("x")), Err(Denial::Forbidden));
    let post = given::<Post>([published(), deleted()]).state();
    assert_eq!(post.authorize(&actor(AUTHOR), &edit("x")), Err(Denial::Hidden));
    assert_eq!(Post::default().authorize(&actor(AUTHOR), &edit("x")), Err(Denial::Hidden));
    let publish = publish("in another's name");
    assert_eq!(Post::default().authorize(&actor(AUTHOR), &publish), Ok(Role::Applicant));
    assert_eq!(Post::default().authorize(&actor(OTHER), &publish), Err(Denial::Forbidden));
}

#[test]
fn every_event_ever_written_is_read_back() {
    let samples = [published(), edited(), deleted()];
    crate::golden::check::<Post>(&samples);
    assert_eq!(samples.each_ref().map(PostEvent::event_type), PostEvent::TYPES);
}
