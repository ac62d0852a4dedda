//! Organisations: who belongs, what that allows, and where a session acts.

mod members;
mod roles;
mod switch;

use super::*;
use crate::support::Node;
use crate::support::links::prove_address;

/// Who proves the addresses of those whom a test invites.
struct Registry(Node);

impl Registry {
    async fn open() -> Self {
        Self(Node::start(&system().await.database_url).await)
    }

    /// Somebody new whose address is proved.
    async fn verified(&self) -> (String, Client) {
        let (email, person) = account().await;
        prove_address(self.0.store.vault(), &person, &email).await;
        (email, person)
    }

    /// Somebody new who belongs to the organisation and acts in it.
    async fn member(&self, admin: &Client, organization: &str, role: &str) -> Client {
        let person = self.joined(admin, organization, role).await;
        act_in(&person, organization).await;
        person
    }

    /// Somebody new who belongs to the organisation.
    async fn joined(&self, admin: &Client, organization: &str, role: &str) -> Client {
        let (email, person) = self.verified().await;
        invite(admin, organization, &email, role).await.expect(200);
        let invitation = only_invitation(&person).await;
        accept(&person, &invitation).await.expect(200);
        person
    }
}

/// A new organisation of somebody, by its path.
async fn organization(founder: &Client) -> String {
    let created = founder.post("/api/organizations", json!({ "name": "Les Amis", "type": "association" })).await;
    created.expect(201).header("location").to_owned()
}

fn id_of(organization: &str) -> &str {
    organization.rsplit('/').next().unwrap()
}

async fn invite(admin: &Client, organization: &str, email: &str, role: &str) -> Answer {
    admin.post(&format!("{organization}/members"), json!({ "email": email, "role": role })).await
}

/// The id of the one invitation that somebody has.
async fn only_invitation(person: &Client) -> String {
    let invitations = person.get("/api/users/me/invitations").await.expect(200);
    let [invitation] = items(&invitations) else { panic!("{:#}", invitations.body) };
    invitation["id"].as_str().unwrap().to_owned()
}

async fn accept(person: &Client, invitation: &str) -> Answer {
    person.post(&format!("/api/users/me/invitations/{invitation}/accept"), json!({})).await
}

async fn switch_to(person: &Client, organization: Value) -> Answer {
    person.put("/api/auth/session/organization", json!({ "organizationId": organization })).await
}

async fn act_in(person: &Client, organization: &str) {
    switch_to(person, json!(id_of(organization))).await.expect(200);
}

async fn remove(by: &Client, organization: &str, who: &Client) -> Answer {
    let body = Some(json!({ "userId": who.user_id }));
    call(by, Method::DELETE, &format!("{organization}/members"), &[], body).await
}

async fn change_role(by: &Client, organization: &str, who: &Client, role: &str) -> Answer {
    by.put(&format!("{organization}/members"), json!({ "userId": who.user_id, "role": role })).await
}

/// Reads what everybody has written so far.
async fn read(person: &Client, path: &str) -> Answer {
    let and = if path.contains('?') { '&' } else { '?' };
    person.get(&format!("{path}{and}minPosition={}", head().await)).await
}

/// What people are in an organisation, by the order in which they joined.
async fn roles_in(reader: &Client, organization: &str) -> Vec<String> {
    let members = read(reader, &format!("{organization}/members")).await.expect(200);
    items(&members).iter().map(|member| member["role"].as_str().unwrap().to_owned()).collect()
}

/// A submitted dossier of somebody, where they act.
async fn submitted(owner: &Client) -> String {
    let path = new_dossier(owner).await;
    owner.post(&format!("{path}/submit"), json!({})).await.expect(200);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_founded_renamed_and_found_by_its_members_alone() {
    let (grace, eve) = (applicant().await, applicant().await);
    let path = organization(&grace).await;
    let shown = read(&grace, &path).await.expect(200);
    assert_eq!((&shown.body["name"], &shown.body["type"]), (&json!("Les Amis"), &json!("association")));
    assert_eq!((&shown.body["role"], &shown.body["active"]), (&json!("admin"), &json!(false)));
    assert_eq!(shown.body["permissions"].as_array().unwrap().len(), 8);
    assert_eq!(shown.header("etag"), "\"1\"");
    grace.put(&path, json!({ "name": "Nous", "type": "center" })).await.expect(200);
    let listed = read(&grace, "/api/organizations").await.expect(200);
    assert_eq!((items(&listed).len(), &items(&listed)[0]["name"]), (1, &json!("Nous")));
    assert!(items(&read(&eve, "/api/organizations").await.expect(200)).is_empty());
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::PUT, path.clone(), Some(json!({ "name": "Mine" }))),
        (Method::GET, format!("{path}/members"), None),
        (Method::POST, format!("{path}/members"), Some(json!({ "email": "a@b.c" }))),
        (Method::PUT, format!("{path}/members"), Some(json!({ "userId": eve.user_id, "role": "admin" }))),
        (Method::DELETE, format!("{path}/members"), Some(json!({ "userId": grace.user_id }))),
        (Method::GET, format!("{path}/invitations"), None),
        (Method::DELETE, format!("{path}/invitations"), Some(json!({ "invitationId": eve.user_id }))),
        (Method::PUT, format!("{path}/roles"), Some(json!({ "role": "x", "permissions": [] }))),
        (Method::DELETE, format!("{path}/roles"), Some(json!({ "role": "x" }))),
    ] {
        call(&eve, method.clone(), &path, &[], body.clone()).await.expect_problem(404, "organization.not_found");
        let nowhere = path.replace(id_of_first(&path), &uuid::Uuid::now_v7().to_string());
        call(&eve, method, &nowhere, &[], body).await.expect_problem(404, "organization.not_found");
    }
}

fn id_of_first(path: &str) -> &str {
    path.split('/').nth(3).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_stand_is_refused_by_its_field() {
    let grace = applicant().await;
    let path = organization(&grace).await;
    let pointer = |answer: Answer| answer.body["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
    for name in ["", "  ", &"x".repeat(201)] {
        let refused = grace.post("/api/organizations", json!({ "name": name })).await;
        assert_eq!(pointer(refused.expect_problem(422, "organization.invalid")), "/name");
    }
    for body in [json!({}), json!({ "name": "A", "type": "sect" }), json!({ "name": "A", "ownerId": grace.user_id })] {
        assert_eq!(grace.post("/api/organizations", body).await.status, 422);
    }
    let refused = grace.post(&format!("{path}/members"), json!({ "email": "nobody" })).await;
    assert_eq!(pointer(refused.expect_problem(422, "organization.invalid")), "/email");
    for (role, permissions) in [("admin", json!([])), ("A B", json!([])), ("", json!([]))] {
        let refused = grace.put(&format!("{path}/roles"), json!({ "role": role, "permissions": permissions })).await;
        assert_eq!(pointer(refused.expect_problem(422, "organization.invalid")), "/role");
    }
    let unknown = grace.put(&format!("{path}/roles"), json!({ "role": "x", "permissions": ["everything"] })).await;
    assert_eq!(unknown.status, 422);
    assert_eq!(read(&grace, &path).await.expect(200).body["version"], 1, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_has_its_own_dossiers_and_live_events() {
    let registry = Registry::open().await;
    let (grace, home_pro, auditor) = (applicant().await, person("pro").await, person("auditor").await);
    let path = organization(&grace).await;
    let ada = registry.member(&grace, &path, "member").await;
    let eve = registry.member(&grace, &path, "pro").await;
    let dossier = submitted(&ada).await;
    let shown = read(&ada, &dossier).await.expect(200);
    assert_eq!(shown.body["organizationId"], id_of(&path));
    // Who reviews here sees it, and who reviews elsewhere does not.
    assert_eq!(items(&read(&eve, "/api/dossiers").await.expect(200))[0]["id"], shown.body["id"]);
    read(&home_pro, &dossier).await.expect_problem(404, "dossier.not_found");
    home_pro.post(&format!("{dossier}/start-review"), json!({})).await.expect_problem(404, "dossier.not_found");
    let at_home = submitted(&applicant().await).await;
    read(&eve, &at_home).await.expect_problem(404, "dossier.not_found");
    let assign = json!({ "pro": home_pro.user_id });
    eve.post(&format!("{dossier}/assign"), assign).await.expect_problem(422, "field.invalid");
    eve.post(&format!("{dossier}/start-review"), json!({})).await.expect(200);
    eve.post(&format!("{dossier}/accept"), json!({})).await.expect(200);
    assert_eq!(read(&ada, &dossier).await.expect(200).body["status"], "accepted");
    let history = read(&auditor, &format!("{dossier}/history")).await.expect(200);
    assert_eq!(items(&history).last().unwrap()["actor"]["role"], "pro");
    // A live event of the organisation: all may come, its own see who does.
    let olga = registry.member(&grace, &path, "organizer").await;
    let live = json!({ "title": "Open day", "description": "All welcome", "timeZone": "Europe/Paris",
                       "startsAt": "2030-01-01T10:00:00Z", "endsAt": "2030-01-01T12:00:00Z" });
    eve.post("/api/admin/events", live.clone()).await.expect_problem(403, "access.forbidden");
    let id = olga.post("/api/admin/events", live).await.expect(201).id();
    olga.post(&format!("/api/admin/events/{id}/publish"), json!({})).await.expect(200);
    let stranger = person("organizer").await;
    stranger.post(&format!("/api/events/{id}/register"), json!({})).await.expect(200);
    let attendees = format!("/api/events/{id}/attendees");
    assert_eq!(items(&read(&olga, &attendees).await.expect(200)).len(), 1);
    read(&stranger, &attendees).await.expect_problem(403, "access.forbidden");
    assert_eq!(read(&stranger, &format!("/api/events/{id}")).await.expect(200).body["organizationId"], id_of(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_stopped() {
    let grace = applicant().await;
    let mut founded = Vec::new();
    for _ in 0..5 {
        founded.push(organization(&grace).await);
    }
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = read(&grace, &format!("/api/organizations?limit=2{next}")).await.expect(200);
        seen.extend(items(&page).iter().map(|item| format!("/api/organizations/{}", item["id"].as_str().unwrap())));
        match page.body["nextCursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    founded.reverse();
    assert_eq!(seen, founded);
    let registry = Registry::open().await;
    for _ in 0..2 {
        registry.joined(&grace, &founded[0], "member").await;
    }
    let members = format!("{}/members?limit=2", founded[0]);
    let first = read(&grace, &members).await.expect(200);
    let cursor = first.body["nextCursor"].as_str().unwrap();
    let second = read(&grace, &format!("{members}&cursor={cursor}")).await.expect(200);
    assert_eq!((items(&first).len(), items(&second).len(), &second.body["nextCursor"]), (2, 1, &Value::Null));
    let eve = applicant().await;
    let foreign = read(&eve, &format!("/api/organizations?limit=2{next}")).await;
    foreign.expect_problem(422, "cursor.invalid");
}
