//! One sentence per rule.

use super::*;
use crate::aggregate::DomainEvent;
use crate::change::Change;
use crate::testing::given;

/// One seat: the first has it, the second and the third wait.
fn full() -> Vec<LiveEvent> {
    vec![created(Some(1)), published(), confirmed(1), waitlisted(2), waitlisted(3)]
}

fn scheduled(capacity: Option<u32>) -> Vec<LiveEvent> {
    vec![created(capacity), published()]
}

#[test]
fn it_is_drafted_then_announced() {
    given::<Live>([]).when(create(details(Some(1)))).then([created(Some(1))]);
    given::<Live>([created(None)]).when(LiveCommand::Publish { at: at() }).then([published()]);
}

#[test]
fn its_details_make_sense() {
    let refused = |change: fn(&mut Details)| {
        let mut details = details(None);
        change(&mut details);
        let result = Live::default().decide(create(details));
        let Err(LiveError::Invalid(errors)) = result else { panic!("{result:?}") };
        errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>()
    };
    assert_eq!(refused(|it| it.title = " ".to_owned()), ["/title"]);
    assert_eq!(refused(|it| it.description = "\0".to_owned()), ["/description"]);
    assert_eq!(refused(|it| it.time_zone = "Europe Paris".to_owned()), ["/timeZone"]);
    assert_eq!(refused(|it| it.time_zone = "/etc/localtime".to_owned()), ["/timeZone"]);
    assert_eq!(refused(|it| it.time_zone = String::new()), ["/timeZone"]);
    assert_eq!(refused(|it| it.ends_at = it.starts_at), ["/endsAt"]);
    assert_eq!(refused(|it| it.ends_at = time("+12000-01-01T00:00:00Z")), ["/endsAt"]);
    assert_eq!(refused(|it| it.capacity = Some(0)), ["/capacity"]);
    for url in ["ftp://a.org", "javascript:alert(1)", "https://", "https://a b", "https:///x"] {
        let mut details = details(None);
        details.stream_url = Some(url.to_owned());
        assert!(Live::default().decide(create(details)).is_err(), "{url}");
    }
    for zone in ["UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+3"] {
        let mut details = details(None);
        details.time_zone = zone.to_owned();
        assert!(Live::default().decide(create(details)).is_ok(), "{zone}");
    }
}

#[test]
fn every_status_answers_every_organisers_command() {
    let cancel = || LiveCommand::Cancel { reason: "why".to_owned(), at: at() };
    let commands = [create(details(None)), set_capacity(Some(7)), LiveCommand::Publish { at: at() }, cancel()];
    let table = [
        (vec![created(None)], "edit publish"),
        (scheduled(None), "edit cancel"),
        (vec![created(None), published(), cancelled()], ""),
    ];
    for (history, expected) in table {
        let live = given::<Live>(history).state();
        let expected: Vec<_> = expected.split_whitespace().collect();
        for command in &commands {
            match live.decide(command.clone()) {
                Ok(_) => assert!(expected.contains(&command.slug()), "{command:?}"),
                Err(LiveError::InvalidTransition { allowed, .. }) => {
                    assert_eq!(allowed, expected, "{command:?}");
                    assert!(!expected.contains(&command.slug()));
                }
                Err(error) => panic!("{command:?}: {error}"),
            }
        }
    }
}

#[test]
fn seats_are_taken_in_order_and_then_people_wait() {
    given::<Live>(scheduled(Some(1))).when(register(1)).then([confirmed(1)]);
    given::<Live>([created(Some(1)), published(), confirmed(1)]).when(register(2)).then([waitlisted(2)]);
    given::<Live>([created(None), published(), confirmed(1)]).when(register(2)).then([confirmed(2)]);
}

#[test]
fn registering_twice_and_leaving_twice_are_no_events() {
    given::<Live>(full()).when(register(1)).then_nothing();
    given::<Live>(full()).when(register(2)).then_nothing();
    given::<Live>(full()).when(unregister(7)).then_nothing();
}

#[test]
fn a_freed_seat_goes_to_the_head_of_the_waiting_list() {
    given::<Live>(full()).when(unregister(1)).then([given_up(1), promoted(&[2])]);
    given::<Live>(full()).when(unregister(2)).then([given_up(2)]);
    let second_left = full().into_iter().chain([given_up(2)]);
    given::<Live>(second_left).when(unregister(1)).then([given_up(1), promoted(&[3])]);
}

#[test]
fn who_comes_back_queues_again() {
    let back = full().into_iter().chain([given_up(2), waitlisted(2)]);
    given::<Live>(back).when(unregister(1)).then([given_up(1), promoted(&[3])]);
}

#[test]
fn more_seats_go_to_those_who_wait() {
    given::<Live>(full()).when(set_capacity(Some(2))).then([capacity_edited(Some(1), Some(2)), promoted(&[2])]);
    given::<Live>(full()).when(set_capacity(None)).then([capacity_edited(Some(1), None), promoted(&[2, 3])]);
}

#[test]
fn many_promotions_are_recorded_in_several_events() {
    let waiting = (2..=1_202).map(waitlisted);
    let history = [created(Some(1)), published(), confirmed(1)].into_iter().chain(waiting);
    let live = given::<Live>(history).state();
    let events = live.decide(set_capacity(None)).unwrap();
    let sizes: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            LiveEvent::RegistrationsPromoted { users, .. } => Some(users.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [500, 500, 201]);
}

#[test]
fn seats_that_are_taken_are_not_taken_away() {
    let history = || scheduled(Some(3)).into_iter().chain([confirmed(1), confirmed(2)]);
    given::<Live>(history())
        .when(set_capacity(Some(1)))
        .then_rejected(LiveError::CapacityBelowConfirmed { confirmed: 2 });
    given::<Live>(history()).when(set_capacity(Some(2))).then([capacity_edited(Some(3), Some(2))]);
    given::<Live>(history()).when(set_capacity(Some(3))).then_nothing();
}

#[test]
fn no_one_registers_for_what_is_not_announced_or_called_off_or_over() {
    given::<Live>([]).when(register(1)).then_rejected(LiveError::NotFound);
    given::<Live>([created(None)]).when(register(1)).then_rejected(LiveError::NotFound);
    given::<Live>([created(None), published(), cancelled()]).when(register(1)).then_rejected(LiveError::Cancelled);
    let late = LiveCommand::Register { user: user(1), at: after_the_end() };
    given::<Live>(scheduled(None)).when(late).then_rejected(LiveError::Ended);
}

#[test]
fn what_is_over_stays_as_it_was() {
    let at = after_the_end();
    for command in [LiveCommand::Cancel { reason: "why".to_owned(), at }, LiveCommand::Unregister { user: user(1), at }]
    {
        given::<Live>(full()).when(command).then_rejected(LiveError::Ended);
    }
    let publish = LiveCommand::Publish { at };
    given::<Live>([created(None)]).when(publish).then_rejected(LiveError::Ended);
}

#[test]
fn calling_it_off_ends_every_registration() {
    let live = given::<Live>(full().into_iter().chain([cancelled()])).state();
    let registrations = &live.plan().unwrap().registrations;
    assert_eq!((registrations.confirmed(), registrations.waiting()), (0, 0));
    assert_eq!(live.decide(unregister(1)), Ok(vec![]));
}

#[test]
fn its_organisers_run_it_and_members_register() {
    let actor = |role, organization| Actor::new(user(1), [role].into_iter().collect(), organization);
    let organizer = actor(Role::Organizer, ORGANIZATION);
    let (elsewhere, member) = (actor(Role::Organizer, user(0)), actor(Role::Applicant, user(0)));
    let create = create(details(None));
    assert_eq!(Live::default().authorize(&organizer, &create), Ok(Role::Organizer));
    assert_eq!(Live::default().authorize(&elsewhere, &create), Err(Denial::Forbidden));
    let draft = given::<Live>([created(None)]).state();
    assert_eq!(draft.authorize(&member, &register(1)), Err(Denial::Hidden));
    assert_eq!(draft.authorize(&elsewhere, &set_capacity(None)), Err(Denial::Hidden));
    let announced = given::<Live>(scheduled(None)).state();
    assert_eq!(announced.authorize(&member, &register(1)), Ok(Role::Applicant));
    assert_eq!(announced.authorize(&member, &set_capacity(None)), Err(Denial::Forbidden));
    assert_eq!(announced.authorize(&organizer, &set_capacity(None)), Ok(Role::Organizer));
    assert_eq!(Live::default().authorize(&member, &register(1)), Err(Denial::Hidden));
}

#[test]
fn every_event_ever_written_is_read_back() {
    let text = |from: &str, to: &str| Change { from: from.to_owned(), to: to.to_owned() };
    let (start, end) = (details(None).starts_at, details(None).ends_at);
    let edited = LiveEvent::Edited {
        title: Some(text("How to apply", "How to apply well")),
        description: Some(text("", "Bring questions")),
        time_zone: Some(text("Europe/Paris", "Europe/Brussels")),
        starts_at: Some(Change { from: start, to: time("2026-12-01T18:30:00Z") }),
        ends_at: Some(Change { from: end, to: time("2026-12-01T19:30:00Z") }),
        capacity: Some(Change { from: None, to: Some(50) }),
        stream_url: Some(Change { from: None, to: Some("https://live.example/1".to_owned()) }),
        at: at(),
    };
    let samples = [
        created(Some(2)),
        edited,
        published(),
        cancelled(),
        confirmed(1),
        waitlisted(2),
        given_up(1),
        promoted(&[2, 3]),
    ];
    crate::golden::check::<Live>(&samples);
    assert_eq!(samples.each_ref().map(LiveEvent::event_type), LiveEvent::TYPES);
}
