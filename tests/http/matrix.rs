//! The access policy as it is met over HTTP: every route, by every role, on what is foreign and on what is one's own.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::openapi::operations;
use super::*;

/// In the order of the columns. Every account is an applicant as well.
const ROLES: [&str; 7] = ["applicant", "pro", "auditor", "analyst", "moderator", "organizer", "admin"];

/// What a route is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// A dossier that was submitted and that nobody reviews yet.
    Dossier,
    Post,
    Comment,
    /// A live event that is published.
    Live,
    Account,
    Organization,
    Nothing,
}

use On::*;

/// `+` done, or refused for another reason than who asks; `F` forbidden (403); `-` hidden (404). The last column is its
/// owner, an applicant; `.` where there is none.
const MATRIX: [(&str, &str, On, &str, char); 91] = [
    ("GET", "/api/dossiers", Nothing, "+++++++", '.'),
    ("POST", "/api/dossiers", Nothing, "+++++++", '.'),
    ("GET", "/api/dossiers/{id}", Dossier, "-++---+", '+'),
    ("PUT", "/api/dossiers/{id}", Dossier, "-FF---F", '+'),
    ("DELETE", "/api/dossiers/{id}", Dossier, "-FF---F", '+'),
    ("POST", "/api/dossiers/{id}/submit", Dossier, "-FF---F", '+'),
    ("POST", "/api/dossiers/{id}/withdraw", Dossier, "-FF---F", '+'),
    ("POST", "/api/dossiers/{id}/start-review", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/request-changes", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/cancel-change-request", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/accept", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/refuse", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/close", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/reopen", Dossier, "-+F---F", 'F'),
    ("POST", "/api/dossiers/{id}/assign", Dossier, "-+F---+", 'F'),
    ("POST", "/api/dossiers/{id}/archive", Dossier, "-+F---F", '+'),
    ("GET", "/api/dossiers/{id}/history", Dossier, "-F+---F", '+'),
    ("GET", "/api/dossiers/{id}/diff", Dossier, "-F+---F", '+'),
    ("GET", "/api/dossiers/{id}/case-file", Dossier, "-F+---F", 'F'),
    ("GET", "/api/posts", Nothing, "+++++++", '.'),
    ("POST", "/api/posts", Nothing, "+++++++", '.'),
    ("GET", "/api/posts/{id}", Post, "+++++++", '+'),
    ("PUT", "/api/posts/{id}", Post, "FFFFFFF", '+'),
    ("DELETE", "/api/posts/{id}", Post, "FFFFFFF", '+'),
    ("GET", "/api/posts/{id}/comments", Post, "+++++++", '+'),
    ("POST", "/api/posts/{id}/comments", Post, "+++++++", '+'),
    ("POST", "/api/posts/{id}/like", Post, "+++++++", '+'),
    ("DELETE", "/api/posts/{id}/like", Post, "+++++++", '+'),
    ("PUT", "/api/comments/{id}", Comment, "FFFFFFF", '+'),
    ("DELETE", "/api/comments/{id}", Comment, "FFFFFFF", '+'),
    ("GET", "/api/events", Nothing, "+++++++", '.'),
    ("GET", "/api/events/{id}", Live, "+++++++", '.'),
    ("POST", "/api/events/{id}/register", Live, "+++++++", '.'),
    ("DELETE", "/api/events/{id}/register", Live, "+++++++", '.'),
    ("GET", "/api/events/{id}/attendees", Live, "FFFFF++", '.'),
    ("POST", "/api/admin/events", Nothing, "FFFFF++", '.'),
    ("PUT", "/api/admin/events/{id}", Live, "FFFFF++", '.'),
    ("POST", "/api/admin/events/{id}/publish", Live, "FFFFF++", '.'),
    ("POST", "/api/admin/events/{id}/cancel", Live, "FFFFF++", '.'),
    ("GET", "/api/organizations", Nothing, "+++++++", '.'),
    ("POST", "/api/organizations", Nothing, "+++++++", '.'),
    ("GET", "/api/organizations/{id}", Organization, "------+", '+'),
    ("PUT", "/api/organizations/{id}", Organization, "------F", '+'),
    ("GET", "/api/organizations/{id}/members", Organization, "------+", '+'),
    ("POST", "/api/organizations/{id}/members", Organization, "------+", '+'),
    ("PUT", "/api/organizations/{id}/members", Organization, "------+", '+'),
    ("DELETE", "/api/organizations/{id}/members", Organization, "------+", '+'),
    ("GET", "/api/organizations/{id}/invitations", Organization, "------+", '+'),
    ("DELETE", "/api/organizations/{id}/invitations", Organization, "------+", '+'),
    ("PUT", "/api/organizations/{id}/roles", Organization, "------F", '+'),
    ("DELETE", "/api/organizations/{id}/roles", Organization, "------F", '+'),
    ("GET", "/api/users/{id}", Account, "+++++++", '+'),
    ("GET", "/api/users/{id}/avatar", Account, "+++++++", '+'),
    ("PUT", "/api/users/{id}/avatar", Account, "FFFFFFF", '+'),
    ("DELETE", "/api/users/{id}/avatar", Account, "FFFFFFF", '+'),
    ("GET", "/api/admin/users", Nothing, "FFFFFF+", '.'),
    ("PUT", "/api/admin/users/{id}/status", Account, "FFFFFF+", 'F'),
    ("PUT", "/api/admin/users/{id}/roles", Account, "FFFFFF+", 'F'),
    ("GET", "/api/admin/users/{id}/erasure", Account, "FFFFFF-", 'F'),
    ("POST", "/api/admin/users/{id}/erasure", Account, "FFFFFF+", 'F'),
    ("DELETE", "/api/admin/users/{id}/erasure", Account, "FFFFFF+", 'F'),
    ("POST", "/api/admin/users/{id}/erasure/approve", Account, "FFFFFF+", 'F'),
    ("GET", "/api/audit/events", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/audit/head", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/audit/keys", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/audit/proofs/inclusion", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/audit/proofs/consistency", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/audit/accesses", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/audit/break-glass", Nothing, "FF+FFF+", '.'),
    ("POST", "/api/audit/break-glass", Nothing, "FF+FFFF", '.'),
    ("POST", "/api/audit/break-glass/{id}/approve", Nothing, "FF+FFF+", '.'),
    ("GET", "/api/audit/break-glass/{id}/events", Nothing, "FF+FFFF", '.'),
    ("GET", "/api/analytics/{readModel}", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/graphql", Nothing, "+++++++", '.'),
    ("POST", "/api/graphql", Nothing, "+++++++", '.'),
    ("GET", "/api/analytics", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/analytics/exports", Nothing, "FFF+FF+", '.'),
    ("POST", "/api/analytics/exports", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/analytics/exports/{id}", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/analytics/exports/{id}/file", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/analytics/changes", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/stream", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/admin/analytics", Nothing, "FFF+FF+", '.'),
    ("GET", "/api/admin/projections", Nothing, "FFFFFF+", '.'),
    ("POST", "/api/admin/projections/{name}/rebuild", Nothing, "FFFFFF+", '.'),
    ("DELETE", "/api/admin/projections/{name}/rebuild", Nothing, "FFFFFF+", '.'),
    ("POST", "/api/admin/projections/{name}/aggregates/{id}/rebuild", Nothing, "FFFFFF+", '.'),
    ("POST", "/api/admin/projections/{name}/rollback", Nothing, "FFFFFF+", '.'),
    ("GET", "/api/admin/projections/{name}/failures", Nothing, "FFFFFF+", '.'),
    ("POST", "/api/admin/projections/{name}/failures/{id}/retry", Nothing, "FFFFFF+", '.'),
    ("POST", "/api/admin/projections/{name}/failures/{id}/skip", Nothing, "FFFFFF+", '.'),
];

/// Codes of what is missing within something that the caller may see.
const MISSING_WITHIN: [&str; 8] = [
    "aggregate.not_found",
    "avatar.not_found",
    "break_glass.not_found",
    "export.not_found",
    "failure.not_found",
    "invitation.not_found",
    "member.not_found",
    "role.not_found",
];

/// What is about the caller alone, whoever it is: no role changes it.
fn is_about_oneself(path: &str) -> bool {
    path.starts_with("/api/auth/") || path.starts_with("/api/users/me")
}

pub(super) fn body(method: &str, path: &str, who: Uuid) -> Option<Value> {
    let live = json!({ "title": "Open day", "description": "All welcome", "timeZone": "Europe/Paris",
                       "startsAt": "2030-01-01T10:00:00Z", "endsAt": "2030-01-01T12:00:00Z" });
    let ending = path.rsplit('/').next().unwrap();
    let custom = json!({ "role": "custom" });
    Some(match (method, ending) {
        ("DELETE", "members") => json!({ "userId": who }),
        ("DELETE", "invitations") => json!({ "invitationId": who }),
        ("DELETE", "roles") if path.starts_with("/api/organizations") => custom,
        ("GET" | "DELETE", _) => return None,
        ("POST", "organizations") => json!({ "name": "Les Amis" }),
        ("PUT", "{id}") if path.starts_with("/api/organizations") => json!({ "name": "Nous" }),
        ("POST", "members") => json!({ "email": "somebody@capitune.test" }),
        ("PUT", "members") => json!({ "userId": who, "role": "pro" }),
        ("PUT", "roles") if path.starts_with("/api/organizations") => json!({ "role": "custom", "permissions": [] }),
        ("POST", "graphql") => json!({ "query": "{ posts { items { id } } }" }),
        ("POST", "exports") => json!({ "readModel": "dossiers", "format": "csv" }),
        ("POST", "break-glass") => json!({ "stream": format!("account/{who}"), "reason": "A reason" }),
        ("POST", "dossiers") => dossier("A request"),
        ("PUT", _) if path == "/api/dossiers/{id}" => json!({ "title": "Another" }),
        (_, "request-changes") => json!({ "reason": "incomplete", "message": "A page is missing" }),
        (_, "refuse" | "close") => json!({ "motivation": "Not this year" }),
        (_, "reopen" | "cancel" | "erasure" | "skip") => json!({ "reason": "A reason" }),
        (_, "assign") => json!({ "pro": who }),
        ("POST", "events") => live,
        ("PUT", "{id}") if path.starts_with("/api/admin/events") => json!({ "title": "Another day" }),
        (_, "posts" | "comments" | "{id}") => json!({ "body": "Hello" }),
        (_, "status") => json!({ "status": "active", "reason": "A reason" }),
        (_, "roles") => json!({ "roles": ["applicant"] }),
        _ => json!({}),
    })
}

/// A new one of these, with its owner.
async fn fresh(on: On, organizer: &Client) -> (Client, Uuid) {
    let owner = applicant().await;
    let (id, position) = match on {
        Nothing => return (owner, Uuid::now_v7()),
        Account => {
            let last = owner.put("/api/users/me", json!({ "name": "Another" })).await.expect(200);
            (owner.user_id, last.position())
        }
        Dossier => {
            let created = owner.create_dossier("A request").await;
            let submit = format!("/api/dossiers/{}/submit", created.id());
            let submitted = owner.post(&submit, json!({})).await.expect(200);
            (created.id(), submitted.position())
        }
        Post => {
            let post = owner.post("/api/posts", json!({ "body": "Hello" })).await.expect(201);
            (post.id(), post.position())
        }
        Comment => {
            let post = owner.post("/api/posts", json!({ "body": "Hello" })).await.expect(201).id();
            let comments = format!("/api/posts/{post}/comments");
            let comment = owner.post(&comments, json!({ "body": "Me too" })).await.expect(201);
            (comment.id(), comment.position())
        }
        Organization => {
            let created = owner.post("/api/organizations", json!({ "name": "Les Amis" })).await.expect(201);
            (created.id(), created.position())
        }
        Live => {
            let body = body("POST", "/api/admin/events", Uuid::nil()).unwrap();
            let live = organizer.post("/api/admin/events", body).await.expect(201).id();
            let publish = format!("/api/admin/events/{live}/publish");
            (live, organizer.post(&publish, json!({})).await.expect(200).position())
        }
    };
    // Read models have it before anybody asks.
    let kind = match on {
        Dossier => "dossiers",
        Post | Comment => "posts",
        Live => "events",
        Organization => "organizations",
        Account | Nothing => "users",
    };
    let path = if on == Account { format!("/api/users/{id}") } else { format!("/api/{kind}") };
    owner.get(&format!("{path}?minPosition={position}")).await.expect(200);
    (owner, id)
}

pub(super) async fn mark(client: &Client, method: &str, path: &str, id: Uuid, body: Option<Value>) -> (char, Value) {
    let address = path.replace("{id}", &id.to_string()).replace("{name}", "mail");
    let address = address.replace("{readModel}", "dossiersByStatus");
    let query = if path.ends_with("/diff") { "?from=0&to=1" } else { "" };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = call(client, method, &format!("{address}{query}"), &[], body).await;
    let mark = match answer.status {
        403 if answer.body["code"] == "access.forbidden" => 'F',
        404 if MISSING_WITHIN.iter().any(|code| answer.body["code"] == *code) => '+',
        404 => '-',
        200..=204 | 400..=402 | 405..=499 => '+',
        status => panic!("{status} at {address}: {:#}", answer.body),
    };
    (mark, answer.body["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_role_as_the_policy_says() {
    let mut people = Vec::new();
    for role in ROLES {
        people.push(admin().await.register_with_roles("Somebody", &["applicant", role]).await);
    }
    let (pro, organizer) = (people[1].user_id, people[5].clone());
    let mut wrong = Vec::new();
    for (method, path, on, cells, own) in MATRIX {
        let (owner, id) = fresh(on, &organizer).await;
        let mut marks = String::new();
        let who = if on == Organization { owner.user_id } else { pro };
        for person in &people {
            let (marked, code) = mark(person, method, path, id, body(method, path, who)).await;
            marks.push(marked);
            if marked == '-' && on != Account {
                // What is hidden is as if it were not there.
                let (_, nowhere) = mark(person, method, path, Uuid::now_v7(), body(method, path, who)).await;
                assert_eq!(code, nowhere, "{method} {path}");
            }
        }
        let owned = if own == '.' { '.' } else { mark(&owner, method, path, id, body(method, path, who)).await.0 };
        if (marks.as_str(), owned) != (cells, own) {
            wrong.push(format!("{method} {path}: {marks} {owned}, not {cells} {own}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn no_route_is_left_out() {
    let listed: BTreeSet<(String, String)> =
        MATRIX.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    let described: BTreeSet<(String, String)> = operations()
        .await
        .into_iter()
        .filter(|operation| !operation.public && !is_about_oneself(&operation.path))
        .map(|operation| (operation.method.to_string(), operation.path))
        .collect();
    assert_eq!(listed, described);
}

#[tokio::test]
async fn another_verb_in_a_header_changes_nothing() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = new_dossier(&ada).await;
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        for method in ["PUT", "DELETE"] {
            get_with(&eve, &path, &[(name, method)]).await.expect_problem(404, "dossier.not_found");
            get_with(&ada, &path, &[(name, method)]).await.expect(200);
            let posted = post_with(&ada, &path, &[(name, method)], json!({ "title": "By a trick" })).await;
            posted.expect_problem(405, "method.not_allowed");
        }
    }
    assert_eq!(ada.get(&path).await.expect(200).body["version"], 1);
}
