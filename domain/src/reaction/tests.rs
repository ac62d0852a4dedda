//! The rules of a reaction, as sentences.

use super::*;
use crate::testing::given;

const POST: Uuid = Uuid::from_u128(6);
const USER: Uuid = Uuid::from_u128(1);

fn at() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn like() -> ReactionCommand {
    ReactionCommand::Like { post: POST, user: USER, at: at() }
}

fn unlike() -> ReactionCommand {
    ReactionCommand::Unlike { post: POST, user: USER, at: at() }
}

fn liked() -> ReactionEvent {
    ReactionEvent::Liked { post: POST, user: USER, at: at() }
}

fn unliked() -> ReactionEvent {
    ReactionEvent::Unliked { post: POST, user: USER, at: at() }
}

#[test]
fn a_like_is_a_set() {
    given::<Reaction>([]).when(like()).then([liked()]);
    given::<Reaction>([liked()]).when(like()).then_nothing();
    given::<Reaction>([liked()]).when(unlike()).then([unliked()]);
    given::<Reaction>([liked(), unliked()]).when(unlike()).then_nothing();
    given::<Reaction>([]).when(unlike()).then_nothing();
    given::<Reaction>([liked(), unliked()]).when(like()).then([liked()]);
}

#[test]
fn its_stream_is_its_own_and_its_events_travel_with_the_post() {
    let id = stream_id(POST, USER);
    assert_eq!(id.get_version_num(), 5);
    assert_eq!(id, stream_id(POST, USER));
    assert_ne!(id, stream_id(USER, POST));
    assert_eq!(given::<Reaction>([liked()]).state().partition_key(id), POST);
    assert_eq!(given::<Reaction>([liked(), unliked()]).state().partition_key(id), POST);
}

#[test]
fn no_one_likes_for_another() {
    let actor = |id| Actor::new(id, [Role::Applicant].into_iter().collect(), POST);
    for reaction in [Reaction::default(), given::<Reaction>([liked()]).state()] {
        assert_eq!(reaction.authorize(&actor(USER), &like()), Ok(Role::Applicant));
        assert_eq!(reaction.authorize(&actor(POST), &like()), Err(Denial::Hidden));
    }
}

#[test]
fn every_event_ever_written_is_read_back() {
    let samples = [liked(), unliked()];
    crate::golden::check::<Reaction>(&samples);
    assert_eq!(samples.each_ref().map(ReactionEvent::event_type), ReactionEvent::TYPES);
}
