//! Who may do what: every route of the first stage with every role.

use super::*;

/// Everyone who meets the dossier.
struct Cast {
    people: Vec<(&'static str, Client)>,
}

impl Cast {
    async fn gather() -> Self {
        let mut people = vec![
            ("nobody", nobody().await),
            ("owner", applicant().await),
            ("reviewer", person("pro").await),
            ("pro", person("pro").await),
            ("stranger", applicant().await),
        ];
        for role in ["auditor", "analyst", "moderator", "organizer"] {
            people.push((role, person(role).await));
        }
        people.push(("admin", admin().await));
        Self { people }
    }

    fn get(&self, name: &str) -> &Client {
        &self.people.iter().find(|(known, _)| *known == name).unwrap().1
    }
}

/// A command, the state it is given in, and those whom it is allowed to; those who see the dossier in that state are
/// refused with 403, the others with 404.
const COMMANDS: [(&str, &str, &[&str]); 15] = [
    ("edit", "draft", &["owner"]),
    ("discard", "draft", &["owner"]),
    ("submit", "draft", &["owner"]),
    ("edit", "changes_requested", &["owner"]),
    ("start-review", "submitted", &["reviewer", "pro"]),
    ("request-changes", "submitted", &["reviewer", "pro"]),
    ("assign", "submitted", &["reviewer", "pro", "admin"]),
    ("request-changes", "in_review", &["reviewer"]),
    ("cancel-change-request", "changes_requested", &["reviewer"]),
    ("accept", "in_review", &["reviewer"]),
    ("refuse", "in_review", &["reviewer"]),
    ("close", "in_review", &["reviewer"]),
    ("reopen", "accepted", &["reviewer"]),
    ("withdraw", "in_review", &["owner"]),
    ("archive", "refused", &["owner", "reviewer"]),
];

/// Who sees a dossier in a state, at least by its metadata.
fn seers(state: &str) -> &'static [&'static str] {
    match state {
        "draft" => &["owner", "auditor", "admin"],
        // On the desk of every pro of the organisation.
        "submitted" => &["owner", "reviewer", "pro", "auditor", "admin"],
        _ => &["owner", "reviewer", "auditor", "admin"],
    }
}

fn expected(name: &str, state: &str, allowed: &[&str]) -> u16 {
    match name {
        "nobody" => 401,
        _ if allowed.contains(&name) => 200,
        _ if seers(state).contains(&name) => 403,
        _ => 404,
    }
}

#[tokio::test]
async fn every_command_on_a_dossier_is_for_those_whom_the_policy_names() {
    let cast = Cast::gather().await;
    for (command, state, allowed) in COMMANDS {
        // Those who are refused change nothing, so they can all try on one.
        let path = dossier_in(state, cast.get("owner"), cast.get("reviewer")).await;
        let (able, refused): (Vec<_>, Vec<_>) = cast.people.iter().partition(|(name, _)| allowed.contains(name));
        for (name, client) in refused {
            let answer = as_if(client, cast.get("reviewer"), &path, command).await;
            assert_eq!(
                answer.status,
                expected(name, state, allowed),
                "{name}: {command} on {state}: {:#}",
                answer.body
            );
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        for (name, client) in able {
            let path = dossier_in(state, cast.get("owner"), cast.get("reviewer")).await;
            let answer = as_if(client, cast.get("reviewer"), &path, command).await;
            assert_eq!(answer.status, 200, "{name}: {command} on {state}: {:#}", answer.body);
        }
    }
}

/// Gives a command; whom it assigns must be a pro.
async fn as_if(client: &Client, reviewer: &Client, path: &str, command: &str) -> Answer {
    match command {
        "assign" => client.post(&format!("{path}/assign"), json!({ "pro": reviewer.user_id })).await,
        _ => obey(client, path, command).await,
    }
}

#[tokio::test]
async fn every_question_about_a_dossier_is_for_those_who_see_it() {
    let cast = Cast::gather().await;
    for state in ["draft", "submitted", "in_review", "changes_requested", "accepted", "withdrawn", "accepted, archived"]
    {
        let path = dossier_in(state, cast.get("owner"), cast.get("reviewer")).await;
        let position = head().await;
        for (name, client) in &cast.people {
            let answer = client.get(&format!("{path}?minPosition={position}")).await;
            assert_eq!(answer.status, expected(name, state, seers(state)), "{name} reads {state}: {:#}", answer.body);
        }
    }
}

#[tokio::test]
async fn every_other_route_is_for_its_role() {
    let cast = Cast::gather().await;
    let everyone = ["owner", "reviewer", "pro", "stranger", "auditor", "analyst", "moderator", "organizer", "admin"];
    let someone = format!("/api/users/{}", cast.get("stranger").user_id);
    let suspend = format!("/api/admin/users/{}/status", cast.get("stranger").user_id);
    let roles = format!("/api/admin/users/{}/roles", cast.get("stranger").user_id);
    let plan = json!({
        "title": "A webinar", "timeZone": "Europe/Paris", "startsAt": "2999-01-01T10:00:00Z", "endsAt": "2999-01-01T11:00:00Z"
    });
    let draft = cast.get("admin").post("/api/admin/events", plan.clone()).await.expect(201).id();
    let (edit, cancel) = (format!("/api/admin/events/{draft}"), format!("/api/admin/events/{draft}/cancel"));
    let (publish, attendees) = (format!("/api/admin/events/{draft}/publish"), format!("/api/events/{draft}/attendees"));
    let (event, register) = (format!("/api/events/{draft}"), format!("/api/events/{draft}/register"));
    let organizers = ["organizer", "admin"];
    let active = json!({ "status": "active", "reason": "a test" });
    let rows: Vec<(Method, &str, Option<Value>, &[&str])> = vec![
        (Method::GET, "/api/users/me", None, &everyone),
        (Method::PUT, "/api/users/me", Some(json!({ "locale": "en" })), &everyone),
        (Method::GET, &someone, None, &everyone),
        (Method::GET, "/api/dossiers", None, &everyone),
        (Method::POST, "/api/dossiers", Some(dossier("x")), &everyone),
        (Method::GET, "/api/audit/events", None, &["auditor"]),
        (Method::GET, "/api/admin/analytics", None, &["analyst", "admin"]),
        (Method::GET, "/api/analytics/dossiersByStatus", None, &["analyst", "admin"]),
        (Method::GET, "/api/analytics/changes", None, &["analyst", "admin"]),
        (Method::GET, "/api/admin/users", None, &["admin"]),
        (Method::PUT, &suspend, Some(active), &["admin"]),
        (Method::PUT, &roles, Some(json!({ "roles": ["applicant"] })), &["admin"]),
        (Method::GET, "/api/admin/projections", None, &["admin"]),
        (Method::POST, "/api/admin/projections/dossier/rebuild", None, &["admin"]),
        (Method::GET, "/api/posts", None, &everyone),
        (Method::POST, "/api/posts", Some(json!({ "body": "x" })), &everyone),
        (Method::GET, "/api/events", None, &everyone),
        (Method::POST, "/api/admin/events", Some(plan), &organizers),
        (Method::GET, &event, None, &organizers),
        (Method::GET, &attendees, None, &organizers),
        (Method::PUT, &edit, Some(json!({ "description": "x" })), &organizers),
        (Method::POST, &publish, None, &["organizer"]),
        (Method::POST, &register, None, &everyone),
        (Method::DELETE, &register, None, &everyone),
        (Method::GET, &attendees, None, &organizers),
        (Method::POST, &cancel, Some(json!({ "reason": "x" })), &["organizer"]),
    ];
    for (method, path, body, allowed) in rows {
        for (name, client) in &cast.people {
            let answer = call(client, method.clone(), path, &[], body.clone()).await;
            let told = format!("{name}: {method} {path}: {} {:#}", answer.status, answer.body);
            if *name == "nobody" {
                answer.clone().expect_problem(401, "auth.required");
                assert_eq!(answer.header("www-authenticate"), "Bearer", "{told}");
            } else if allowed.contains(name) {
                assert!((200..300).contains(&answer.status), "{told}");
            } else {
                // A transition that another has just made, or a draft that is not theirs to see.
                let transition = answer.status == 409 && organizers.contains(name);
                let draft = answer.status == 404 && path.contains("/events/");
                assert!(answer.status == 403 || transition || draft, "{told}");
            }
        }
    }
    for (name, client) in cast.people.iter().filter(|(name, _)| *name != "nobody") {
        let seen = client.get(&format!("{event}?minPosition={}", head().await)).await;
        assert_eq!((seen.status, &seen.body["status"]), (200, &json!("cancelled")), "{name}");
    }
    for public in ["/health/live", "/health/ready", "/metrics", "/api/openapi.json"] {
        for (name, client) in &cast.people {
            assert_eq!(client.get(public).await.status, 200, "{name}: {public}");
        }
    }
}

#[tokio::test]
async fn an_admin_cannot_be_helped_by_what_is_refused() {
    // Who is refused learns nothing about what is there, whatever else is wrong with the request.
    let ada = applicant().await;
    for path in ["/api/admin/projections/nothing/rebuild", "/api/admin/projections/dossier/rebuild"] {
        call(&ada, Method::POST, path, &[], None).await.expect_problem(403, "access.forbidden");
    }
    let stranger = applicant().await;
    let status = json!({ "status": "suspended", "reason": "x" });
    let known = ada.put(&format!("/api/admin/users/{}/status", stranger.user_id), status.clone()).await;
    assert_eq!(known.status, 403);
    ada.put(&format!("/api/admin/users/{}/status", ada.user_id), status).await.expect_problem(403, "access.forbidden");
    let own = json!({ "roles": ["admin"] });
    ada.put(&format!("/api/admin/users/{}/roles", ada.user_id), own).await.expect_problem(403, "access.forbidden");
}

#[tokio::test]
async fn a_card_shows_nothing_but_a_card() {
    let (ada, eve) = (applicant().await, applicant().await);
    let card = eve.get(&format!("/api/users/{}?minPosition={}", ada.user_id, head().await)).await.expect(200);
    assert_eq!(card.body["name"], "Ada Lovelace");
    for secret in ["email", "roles", "status", "locale", "password"] {
        assert!(card.body.get(secret).is_none(), "{secret}");
    }
    eve.get(&format!("/api/users/{}", uuid::Uuid::now_v7())).await.expect_problem(404, "account.not_found");
}

#[tokio::test]
async fn who_may_not_assign_does_not_learn_who_is_a_pro() {
    let (ada, eve, pro) = (applicant().await, applicant().await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    for id in [pro.user_id, eve.user_id, uuid::Uuid::now_v7()] {
        let body = json!({ "pro": id });
        eve.post(&format!("{path}/assign"), body.clone()).await.expect_problem(404, "dossier.not_found");
        ada.post(&format!("{path}/assign"), body).await.expect_problem(403, "access.forbidden");
    }
}
