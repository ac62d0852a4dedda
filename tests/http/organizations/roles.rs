//! What roles allow: those that every organisation has, cell by cell, and those of its own.

use super::super::matrix::{body, mark};
use super::*;

/// In the order of the columns.
const ROLES: [&str; 4] = ["member", "pro", "organizer", "admin"];

/// `+` done, or refused for another reason than who asks; `F` forbidden (403); `-` hidden (404): on a submitted dossier
/// or a published live event of the organisation in which the member acts, and on one of another.
const MATRIX: [(&str, &str, &str, &str); 20] = [
    ("GET", "/api/dossiers/{id}", "-+-+", "----"),
    ("PUT", "/api/dossiers/{id}", "-F-F", "----"),
    ("DELETE", "/api/dossiers/{id}", "-F-F", "----"),
    ("POST", "/api/dossiers/{id}/submit", "-F-F", "----"),
    ("POST", "/api/dossiers/{id}/withdraw", "-F-F", "----"),
    ("POST", "/api/dossiers/{id}/start-review", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/request-changes", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/cancel-change-request", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/accept", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/refuse", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/close", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/reopen", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/assign", "-+-+", "----"),
    ("POST", "/api/dossiers/{id}/archive", "-+-+", "----"),
    ("GET", "/api/dossiers/{id}/history", "-F-F", "----"),
    ("GET", "/api/dossiers/{id}/diff", "-F-F", "----"),
    ("GET", "/api/events/{id}/attendees", "FF++", "FFFF"),
    ("PUT", "/api/admin/events/{id}", "FF++", "FFFF"),
    ("POST", "/api/admin/events/{id}/publish", "FF++", "FFFF"),
    ("POST", "/api/admin/events/{id}/cancel", "FF++", "FFFF"),
];

struct House {
    owner: Client,
    organizer: Client,
}

impl House {
    /// A new dossier or live event of this organisation.
    async fn fresh(&self, path: &str) -> uuid::Uuid {
        if path.starts_with("/api/dossiers") {
            return submitted(&self.owner).await.rsplit('/').next().unwrap().parse().unwrap();
        }
        let live = body("POST", "/api/admin/events", uuid::Uuid::nil()).unwrap();
        let id = self.organizer.post("/api/admin/events", live).await.expect(201).id();
        self.organizer.post(&format!("/api/admin/events/{id}/publish"), json!({})).await.expect(200);
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_member_as_the_policy_says() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let organization = organization(&grace).await;
    let mut people = Vec::new();
    for role in ROLES {
        people.push(registry.member(&grace, &organization, role).await);
    }
    let own = House { owner: people[0].clone(), organizer: people[2].clone() };
    let foreign = House { owner: applicant().await, organizer: person("organizer").await };
    // The owner of what is the organisation's own is not one of those who are asked about it.
    let own = House { owner: registry.member(&grace, &organization, "member").await, ..own };
    let pro = people[1].user_id;
    let mut wrong = Vec::new();
    for (method, path, same, other) in MATRIX {
        for (house, cells) in [(&own, same), (&foreign, other)] {
            let mut marks = String::new();
            for person in &people {
                let id = house.fresh(path).await;
                read(person, "/api/dossiers").await.expect(200);
                read(person, "/api/events").await.expect(200);
                marks.push(mark(person, method, path, id, body(method, path, pro)).await.0);
            }
            if marks != cells {
                wrong.push(format!("{method} {path}: {marks}, not {cells}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_organizations_own_allows_what_it_says_and_no_more() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let define = async |by: &Client, role: &str, permissions: Value| {
        by.put(&format!("{path}/roles"), json!({ "role": role, "permissions": permissions })).await
    };
    define(&grace, "dispatcher", json!(["assignDossiers"])).await.expect(200);
    let (dispatcher, pro) =
        (registry.member(&grace, &path, "dispatcher").await, registry.member(&grace, &path, "pro").await);
    let owner = registry.member(&grace, &path, "member").await;
    let dossier = submitted(&owner).await;
    read(&dispatcher, &dossier).await.expect(200);
    for command in ["start-review", "accept", "request-changes"] {
        let body = if command == "request-changes" {
            json!({ "reason": "incomplete", "message": "A page" })
        } else {
            json!({})
        };
        let refused = dispatcher.post(&format!("{dossier}/{command}"), body).await;
        refused.expect_problem(403, "access.forbidden");
    }
    let to = |who: &Client| json!({ "pro": who.user_id });
    let assign = format!("{dossier}/assign");
    dispatcher.post(&assign, to(&dispatcher)).await.expect_problem(422, "field.invalid");
    dispatcher.post(&assign, to(&pro)).await.expect(200);
    // It means something else from now on, for those who have it too.
    define(&grace, "dispatcher", json!(["manageMembers", "reviewDossiers"])).await.expect(200);
    let next = submitted(&owner).await;
    crate::support::eventually("the role allows what it says now", async || {
        dispatcher.post(&format!("{next}/start-review"), json!({})).await.status == 200
    })
    .await;
    dispatcher.post(&format!("{next}/assign"), to(&pro)).await.expect_problem(403, "access.forbidden");
    // Nobody gives what they do not have.
    let beyond = "organization.beyond_own_permissions";
    invite(&dispatcher, &path, "x@capitune.test", "pro").await.expect_problem(403, beyond);
    change_role(&dispatcher, &path, &dispatcher, "admin").await.expect_problem(403, beyond);
    remove(&dispatcher, &path, &grace).await.expect_problem(409, "organization.last_admin");
    define(&dispatcher, "mine", json!([])).await.expect_problem(403, "access.forbidden");
    invite(&dispatcher, &path, "x@capitune.test", "member").await.expect(200);
    let delete = async |role: &str| {
        call(&grace, Method::DELETE, &format!("{path}/roles"), &[], Some(json!({ "role": role }))).await
    };
    delete("dispatcher").await.expect_problem(409, "organization.role_in_use");
    change_role(&grace, &path, &dispatcher, "member").await.expect(200);
    delete("dispatcher").await.expect(200);
    delete("dispatcher").await.expect_problem(404, "role.not_found");
    assert_eq!(read(&grace, &path).await.expect(200).body["roles"], json!([]));
}
