//! Live events: their organisers, their seats, their waiting list.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::*;

fn in_days(days: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::days(days)
}

fn plan(capacity: Value) -> Value {
    json!({
        "title": "A webinar", "description": "About rooms", "timeZone": "Europe/Paris", "capacity": capacity,
        "startsAt": in_days(2), "endsAt": in_days(3), "streamUrl": "https://stream.test/secret",
    })
}

/// A new live event, by its path under `/api/events`; it can be read at once by its organisers.
async fn draft(organizer: &Client, plan: Value) -> String {
    let created = organizer.post("/api/admin/events", plan).await.expect(201);
    let path = format!("/api/events/{}", created.id());
    assert_eq!(created.header("location"), path);
    organizer.get(&format!("{path}?minPosition={}", created.position())).await.expect(200);
    path
}

async fn scheduled(organizer: &Client, plan: Value) -> String {
    let path = draft(organizer, plan).await;
    let published = organizer.post(&format!("{}/publish", admins(&path)), json!({})).await.expect(200);
    organizer.get(&format!("{path}?minPosition={}", published.position())).await.expect(200);
    path
}

/// The organisers' side of a live event.
fn admins(path: &str) -> String {
    path.replace("/api/events", "/api/admin/events")
}

async fn read(client: &Client, path: &str) -> Answer {
    client.get(&format!("{path}?minPosition={}", head().await)).await
}

#[tokio::test]
async fn a_live_event_is_drafted_published_and_called_off() {
    let (organizer, ada) = (person("organizer").await, applicant().await);
    let path = draft(&organizer, plan(json!(10))).await;
    read(&ada, &path).await.expect_problem(404, "event.not_found");
    ada.post(&format!("{path}/register"), json!({})).await.expect_problem(404, "event.not_found");
    let cancel = json!({ "reason": "A storm" });
    let refused = organizer.post(&format!("{}/cancel", admins(&path)), cancel.clone()).await;
    let refused = refused.expect_problem(409, "event.invalid_transition");
    assert_eq!(
        (&refused.body["currentState"], &refused.body["allowedCommands"]),
        (&json!("draft"), &json!(["edit", "publish"]))
    );
    organizer.post(&format!("{}/publish", admins(&path)), json!({})).await.expect(200);
    let refused = organizer.post(&format!("{}/publish", admins(&path)), json!({})).await;
    assert_eq!(refused.expect_problem(409, "event.invalid_transition").body["currentState"], "scheduled");
    let seen = read(&ada, &path).await.expect(200);
    assert_eq!(
        (&seen.body["title"], &seen.body["status"], &seen.body["phase"]),
        (&json!("A webinar"), &json!("scheduled"), &json!("upcoming"))
    );
    assert_eq!(
        (&seen.body["capacity"], &seen.body["confirmed"], &seen.body["registration"]),
        (&json!(10), &json!(0), &Value::Null)
    );
    assert_eq!(seen.header("etag"), "\"2\"");
    organizer.put(&admins(&path), json!({ "title": "Another" })).await.expect(200);
    let none = organizer.put(&admins(&path), json!({ "title": "Another" })).await.expect(200);
    assert_eq!(none.body["version"], 3);
    ada.post(&format!("{path}/register"), json!({})).await.expect(200);
    organizer.post(&format!("{}/cancel", admins(&path)), json!({})).await.expect_problem(422, "field.required");
    organizer.post(&format!("{}/cancel", admins(&path)), cancel.clone()).await.expect(200);
    let seen = read(&ada, &path).await.expect(200);
    assert_eq!((&seen.body["status"], &seen.body["cancelReason"]), (&json!("cancelled"), &json!("A storm")));
    assert_eq!(seen.body["registration"], "cancelled");
    applicant().await.post(&format!("{path}/register"), json!({})).await.expect_problem(409, "event.cancelled");
    for (command, body) in [("/cancel", cancel), ("/publish", json!({}))] {
        let refused = organizer.post(&format!("{}{command}", admins(&path)), body).await;
        let refused = refused.expect_problem(409, "event.invalid_transition");
        assert_eq!(
            (&refused.body["currentState"], &refused.body["allowedCommands"]),
            (&json!("cancelled"), &json!([]))
        );
    }
}

#[tokio::test]
async fn what_is_announced_has_limits() {
    let organizer = person("organizer").await;
    let with = |name: &str, value: Value| {
        let mut plan = plan(json!(1));
        plan[name] = value;
        plan
    };
    for (name, value) in [
        ("title", json!("")),
        ("title", json!("t".repeat(201))),
        ("title", Value::Null),
        ("description", json!("d".repeat(10_001))),
        ("description", json!("a\0b")),
        ("timeZone", json!("")),
        ("timeZone", json!("../../etc/passwd")),
        ("capacity", json!(0)),
        ("capacity", json!(-1)),
        ("capacity", json!(1.5)),
        ("capacity", json!(4_294_967_296_u64)),
        ("capacity", json!("10")),
        ("streamUrl", json!("javascript:alert(1)")),
        ("streamUrl", json!("file:///etc/passwd")),
        ("streamUrl", json!("x")),
        ("startsAt", json!("tomorrow")),
        ("startsAt", json!("2026-02-30T00:00:00Z")),
        ("startsAt", json!(1)),
        ("endsAt", json!(in_days(1))),
        ("endsAt", json!("+262142-01-01T00:00:00Z")),
        ("startsAt", json!("-9999-01-01T00:00:00Z")),
    ] {
        let refused = organizer.post("/api/admin/events", with(name, value.clone())).await;
        assert_eq!(refused.status, 422, "{name} {value}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/{name}"), "{value}: {:#}", refused.body);
    }
    for name in ["status", "organizationId", "confirmed", "id", "registrations"] {
        organizer.post("/api/admin/events", with(name, json!(1))).await.expect_problem(422, "field.unknown");
    }
    let path = draft(&organizer, with("capacity", Value::Null)).await;
    assert_eq!(read(&organizer, &path).await.body["capacity"], Value::Null);
    for (body, pointer) in [
        (json!({ "title": null }), "/title"),
        (json!({ "endsAt": in_days(1) }), "/endsAt"),
        (json!({ "capacity": 0 }), "/capacity"),
    ] {
        let refused = organizer.put(&admins(&path), body).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
}

#[tokio::test]
async fn registering_is_a_set() {
    let (organizer, ada) = (person("organizer").await, applicant().await);
    let path = scheduled(&organizer, plan(json!(2))).await;
    let register = format!("{path}/register");
    let first = ada.post(&register, json!({})).await.expect(200);
    assert_eq!(ada.post(&register, json!({})).await.expect(200).body, first.body);
    let seen = read(&ada, &path).await.expect(200);
    assert_eq!((&seen.body["registration"], &seen.body["confirmed"]), (&json!("confirmed"), &json!(1)));
    assert_eq!(read(&applicant().await, &path).await.body["registration"], Value::Null);
    ada.delete(&register).await.expect(200);
    let gone = ada.delete(&register).await.expect(200);
    let seen = read(&ada, &path).await.expect(200);
    assert_eq!(
        (&seen.body["registration"], &seen.body["confirmed"], &seen.body["version"]),
        (&Value::Null, &json!(0), &gone.body["version"])
    );
    // Somebody who never registered has nothing to give back.
    assert_eq!(applicant().await.delete(&register).await.expect(200).body["version"], gone.body["version"]);
    let nothing = format!("/api/events/{}/register", Uuid::now_v7());
    ada.post(&nothing, json!({})).await.expect_problem(404, "event.not_found");
    ada.post(&register, json!({ "userId": ada.user_id })).await.expect_problem(422, "field.unknown");
}

#[tokio::test]
async fn a_live_event_is_never_overbooked_and_a_freed_seat_goes_to_who_waited_longest() {
    let organizer = person("organizer").await;
    let path = scheduled(&organizer, plan(json!(5))).await;
    let register = format!("{path}/register");
    let mut people = Vec::new();
    for _ in 0..12 {
        people.push(applicant().await);
    }
    let calls = people.iter().cycle().take(24).map(|person| person.post(&register, json!({})));
    assert!(join_all(calls).await.iter().all(|answer| answer.status == 200));
    let seen = read(&organizer, &path).await.expect(200);
    assert_eq!((&seen.body["confirmed"], &seen.body["waiting"]), (&json!(5), &json!(7)));
    let attendees = |reader: Client| {
        let path = format!("{path}/attendees?limit=100");
        async move { reader.get(&format!("{path}&minPosition={}", head().await)).await.expect(200) }
    };
    let places = |list: &Answer, place: &str| -> Vec<String> {
        let matching = items(list).iter().filter(|attendee| attendee["status"] == place);
        matching.map(|attendee| attendee["userId"].as_str().unwrap().to_owned()).collect()
    };
    let before = attendees(organizer.clone()).await;
    let (confirmed, waiting) = (places(&before, "confirmed"), places(&before, "waitlisted"));
    assert_eq!((confirmed.len(), waiting.len()), (5, 7));
    let of = |id: &String| people.iter().find(|person| person.user_id.to_string() == *id).unwrap();
    of(&confirmed[0]).delete(&register).await.expect(200);
    let after = attendees(organizer.clone()).await;
    assert!(places(&after, "confirmed").contains(&waiting[0]));
    assert_eq!((places(&after, "confirmed").len(), places(&after, "waitlisted")), (5, waiting[1..].to_vec()));
    // All leave and come at once.
    let calls =
        people.iter().enumerate().map(|(number, person)| {
            let register = register.clone();
            async move {
                if number % 2 == 0 { person.delete(&register).await } else { person.post(&register, json!({})).await }
            }
        });
    assert!(join_all(calls).await.iter().all(|answer| answer.status == 200));
    let seen = read(&organizer, &path).await.expect(200);
    assert_eq!(seen.body["confirmed"], 5);
    // More seats take more in; fewer than are taken there cannot be.
    let refused = organizer.put(&admins(&path), json!({ "capacity": 4 })).await;
    refused.expect_problem(409, "event.capacity_below_confirmed");
    organizer.put(&admins(&path), json!({ "capacity": null })).await.expect(200);
    let seen = read(&organizer, &path).await.expect(200);
    assert_eq!((&seen.body["waiting"], &seen.body["capacity"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn only_who_has_a_seat_sees_where_to_watch_and_only_when_it_is_time() {
    let (organizer, ada) = (person("organizer").await, applicant().await);
    let mut soon = plan(json!(1));
    soon["startsAt"] = json!(Utc::now() + TimeDelta::minutes(10));
    let (later, soon) = (scheduled(&organizer, plan(json!(1))).await, scheduled(&organizer, soon).await);
    for path in [&later, &soon] {
        ada.post(&format!("{path}/register"), json!({})).await.expect(200);
    }
    let eve = applicant().await;
    eve.post(&format!("{soon}/register"), json!({})).await.expect(200);
    assert_eq!(read(&ada, &soon).await.body["streamUrl"], "https://stream.test/secret");
    assert_eq!(read(&ada, &later).await.body["streamUrl"], Value::Null);
    for other in [&eve, &applicant().await, &person("auditor").await, &person("moderator").await] {
        assert_eq!(read(other, &soon).await.body["streamUrl"], Value::Null);
        let list = other.get("/api/events?limit=100").await.expect(200);
        assert!(!list.body.to_string().contains("stream.test"));
    }
    assert_eq!(read(&organizer, &later).await.body["streamUrl"], "https://stream.test/secret");
}

#[tokio::test]
async fn attendees_are_for_organisers_also_as_a_table() {
    let (organizer, ada) = (person("organizer").await, nobody().await.register("=cmd|'/c calc'!A1, \"Ada\"").await);
    let path = scheduled(&organizer, plan(json!(1))).await;
    ada.post(&format!("{path}/register"), json!({})).await.expect(200);
    applicant().await.post(&format!("{path}/register"), json!({})).await.expect(200);
    let attendees = format!("{path}/attendees");
    let list = read(&organizer, &attendees).await.expect(200);
    assert_eq!(items(&list).len(), 2);
    assert_eq!((&items(&list)[0]["userId"], &items(&list)[0]["status"]), (&json!(ada.user_id), &json!("confirmed")));
    assert_eq!(items(&list)[1]["status"], "waitlisted");
    read(&admin().await, &attendees).await.expect(200);
    for other in [&ada, &applicant().await, &person("analyst").await, &person("auditor").await, &person("pro").await] {
        other.get(&attendees).await.expect_problem(403, "access.forbidden");
    }
    let table = get_with(&organizer, &attendees, &[("accept", "text/csv")]).await.expect(200);
    assert!(table.header("content-type").starts_with("text/csv"));
    assert!(table.header("content-disposition").starts_with("attachment"));
    let text = table.body.as_str().unwrap();
    assert_eq!(text.lines().count(), 3);
    // A name is no formula.
    assert!(!text.contains(",\"=") && !text.contains(",="), "{text}");
    let page = organizer.get(&format!("{attendees}?limit=1")).await.expect(200);
    let next = page.body["nextCursor"].as_str().unwrap();
    let rest = organizer.get(&format!("{attendees}?limit=1&cursor={next}")).await.expect(200);
    assert_eq!((&items(&rest)[0], &rest.body["nextCursor"]), (&items(&list)[1], &Value::Null));
}

#[tokio::test]
async fn live_events_are_listed_in_the_order_of_their_start() {
    let (organizer, ada) = (person("organizer").await, applicant().await);
    let word = Uuid::now_v7().simple().to_string();
    let mut expected = Vec::new();
    for days in [30, 10, 20] {
        let mut plan = plan(Value::Null);
        plan["title"] = json!(format!("Événement {word} {days}"));
        (plan["startsAt"], plan["endsAt"]) = (json!(in_days(days)), json!(in_days(days + 1)));
        scheduled(&organizer, plan).await;
        expected.push(days);
    }
    let mut hidden = plan(Value::Null);
    hidden["title"] = json!(format!("draft {word}"));
    draft(&organizer, hidden).await;
    let position = head().await;
    let list = |client: Client, query: String| async move {
        let answer = client.get(&format!("/api/events?minPosition={position}&{query}")).await.expect(200);
        let title = |event: &Value| event["title"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
        items(&answer).iter().map(title).collect::<Vec<_>>()
    };
    assert_eq!(list(ada.clone(), format!("q={word}")).await, ["10", "20", "30"]);
    assert_eq!(list(ada.clone(), format!("q=EVENEMENT%20{word}")).await, ["10", "20", "30"]);
    assert_eq!(list(organizer.clone(), format!("q={word}")).await.len(), 4);
    let time = |days: i64| in_days(days).to_rfc3339().replace('+', "%2B");
    assert_eq!(list(ada.clone(), format!("q={word}&from={}", time(15))).await, ["20", "30"]);
    assert_eq!(list(ada.clone(), format!("q={word}&from={}&to={}", time(15), time(25))).await, ["20"]);
    assert!(list(ada.clone(), format!("q={word}&to={}", time(5))).await.is_empty());
    let page = ada.get(&format!("/api/events?q={word}&limit=2")).await.expect(200);
    let next = page.body["nextCursor"].as_str().unwrap();
    assert_eq!(list(ada.clone(), format!("q={word}&limit=2&cursor={next}")).await, ["30"]);
    ada.get(&format!("/api/events?q=other&cursor={next}")).await.expect_problem(422, "cursor.invalid");
    for bad in ["from=x", "to=", "limit=0", "limit=101", "status=draft", "q=a&q=b"] {
        assert_eq!(ada.get(&format!("/api/events?{bad}")).await.status, 422, "{bad}");
    }
}
