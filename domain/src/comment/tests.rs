//! The rules of a comment, as sentences.

use chrono::{DateTime, Utc};

use super::*;
use crate::aggregate::DomainEvent;
use crate::testing::given;

const ID: Uuid = Uuid::from_u128(5);
const POST: Uuid = Uuid::from_u128(6);
const AUTHOR: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn at() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn text(text: &str) -> Personal<String> {
    Personal::new(AUTHOR, text.to_owned())
}

fn write(depth: u8, body: &str) -> CommentCommand {
    let (post, parent, author) = (POST, None, AUTHOR);
    CommentCommand::Write { post, parent, depth, author, body: body.to_owned(), at: at() }
}

fn edit(body: &str) -> CommentCommand {
    CommentCommand::Edit { body: body.to_owned(), at: at() }
}

fn written() -> CommentEvent {
    let (post, parent, depth, author) = (POST, None, 1, AUTHOR);
    CommentEvent::Written { post, parent, depth, author, body: text("why?"), at: at() }
}

fn edited() -> CommentEvent {
    CommentEvent::Edited { post: POST, from: text("why?"), to: text("why not?"), at: at() }
}

fn deleted() -> CommentEvent {
    CommentEvent::Deleted { post: POST, at: at() }
}

#[test]
fn a_comment_is_written_edited_and_deleted() {
    given::<Comment>([]).when(write(1, "why?")).then([written()]);
    given::<Comment>([written()]).when(edit("why not?")).then([edited()]);
    given::<Comment>([written()]).when(edit("why?")).then_nothing();
    given::<Comment>([written()]).when(CommentCommand::Delete { at: at() }).then([deleted()]);
}

#[test]
fn the_tree_is_at_most_eight_deep() {
    assert!(Comment::default().decide(write(8, "deep")).is_ok());
    given::<Comment>([]).when(write(9, "deeper")).then_rejected(CommentError::TooDeep);
}

#[test]
fn a_comment_that_is_not_there_takes_no_orders() {
    for history in [vec![], vec![written(), deleted()]] {
        given::<Comment>(history).when(edit("x")).then_rejected(CommentError::NotFound);
    }
    given::<Comment>([written()]).when(write(1, "x")).then_rejected(CommentError::AlreadyWritten);
}

#[test]
fn a_text_has_1_to_5000_characters() {
    for body in ["", &"x".repeat(5_001)] {
        let result = Comment::default().decide(write(1, body));
        let Err(CommentError::Invalid(errors)) = result else { panic!("{result:?}") };
        assert_eq!(errors[0].pointer, "/body");
    }
}

#[test]
fn its_events_travel_with_its_post() {
    for history in [vec![written()], vec![written(), edited()], vec![written(), deleted()]] {
        assert_eq!(given::<Comment>(history).state().partition_key(ID), POST);
    }
}

#[test]
fn only_its_author_changes_it() {
    let actor = |id| Actor::new(id, [Role::Applicant].into_iter().collect(), ID);
    let comment = given::<Comment>([written()]).state();
    assert_eq!(comment.authorize(&actor(AUTHOR), &edit("x")), Ok(Role::Applicant));
    assert_eq!(comment.authorize(&actor(OTHER), &edit("x")), Err(Denial::Forbidden));
    let absent = Comment::default();
    assert_eq!(absent.authorize(&actor(AUTHOR), &write(1, "x")), Ok(Role::Applicant));
    assert_eq!(absent.authorize(&actor(OTHER), &write(1, "x")), Err(Denial::Forbidden));
    assert_eq!(absent.authorize(&actor(OTHER), &edit("x")), Err(Denial::Hidden));
}

#[test]
fn every_event_ever_written_is_read_back() {
    let samples = [written(), edited(), deleted()];
    crate::golden::check::<Comment>(&samples);
    assert_eq!(samples.each_ref().map(CommentEvent::event_type), CommentEvent::TYPES);
}
