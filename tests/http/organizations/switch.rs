//! Where a session acts.

use super::*;

async fn acting_in(person: &Client) -> Value {
    person.get("/api/auth/session/organization").await.expect(200).body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_acts_in_one_organization_until_it_says_otherwise() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let (path, foreign) = (organization(&grace).await, organization(&applicant().await).await);
    let home = acting_in(&grace).await["organizationId"].clone();
    assert_ne!(home, id_of(&path), "founding an organisation moves nobody");
    switch_to(&grace, json!(id_of(&foreign))).await.expect_problem(422, "field.invalid");
    switch_to(&grace, json!(uuid::Uuid::now_v7())).await.expect_problem(422, "field.invalid");
    switch_to(&grace, json!("elsewhere")).await.expect(422);
    let unsaid = grace.put("/api/auth/session/organization", json!({})).await;
    unsaid.expect_problem(422, "field.required");
    let (email, eve) = registry.verified().await;
    invite(&grace, &path, &email, "pro").await.expect(200);
    accept(&eve, &only_invitation(&eve).await).await.expect(200);
    assert_eq!(acting_in(&eve).await["roles"], json!(["applicant"]));
    let there = switch_to(&eve, json!(id_of(&path))).await.expect(200);
    assert_eq!(there.body["roles"], json!(["applicant", "pro"]));
    assert_eq!(acting_in(&eve).await, there.body);
    assert_eq!(items(&read(&eve, "/api/organizations").await.expect(200))[0]["active"], true);
    // Another session of hers is where it was.
    let second = nobody().await.log_in(&email, PASSWORD).await;
    assert_eq!(acting_in(&second).await["organizationId"], home);
    // Proving again who she is, and going on, change nothing.
    let fresh = eve.post("/api/auth/step-up", json!({ "password": PASSWORD })).await.expect(200);
    let eve = eve.with_token(fresh.body["token"].as_str().unwrap());
    assert_eq!(acting_in(&eve).await["organizationId"], id_of(&path));
    let on = json!({ "refreshToken": fresh.body["refreshToken"] });
    let on = nobody().await.post("/api/auth/refresh", on).await.expect(200);
    let eve = eve.with_token(on.body["token"].as_str().unwrap());
    assert_eq!(acting_in(&eve).await["organizationId"], id_of(&path));
    let dossier = new_dossier(&eve).await;
    assert_eq!(read(&eve, &dossier).await.expect(200).body["organizationId"], id_of(&path));
    switch_to(&eve, Value::Null).await.expect(200);
    assert_eq!(acting_in(&eve).await["organizationId"], home);
    let at_home = new_dossier(&eve).await;
    assert_eq!(read(&eve, &at_home).await.expect(200).body["organizationId"], home);
    // What is hers is hers wherever she acts.
    read(&eve, &dossier).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_known_on_every_node_before_it_is_answered() {
    let registry = Registry::open().await;
    let other = Process::api(&system().await.database_url, &["api"]).await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let eve = registry.joined(&grace, &path, "member").await;
    let elsewhere = eve.at(&other.url());
    for organization in [json!(id_of(&path)), Value::Null, json!(id_of(&path))] {
        acting_in(&elsewhere).await;
        let switched = switch_to(&eve, organization).await.expect(200);
        let dossier = elsewhere.create_dossier("Where am I?").await.id();
        let shown = read(&eve, &format!("/api/dossiers/{dossier}")).await.expect(200);
        assert_eq!(shown.body["organizationId"], switched.body["organizationId"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_acts_where_its_token_was_issued() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let eve = registry.member(&grace, &path, "member").await;
    let token = json!({ "name": "A script", "scopes": ["dossiers:read", "dossiers:write", "organizations:read"] });
    let issued = eve.post("/api/auth/tokens", token).await.expect(201);
    let listed = eve.get("/api/auth/tokens").await.expect(200);
    assert_eq!(items(&listed)[0]["organizationId"], id_of(&path));
    switch_to(&eve, Value::Null).await.expect(200);
    let script = eve.with_token(issued.body["token"].as_str().unwrap());
    let dossier = new_dossier(&script).await;
    assert_eq!(read(&script, &dossier).await.expect(200).body["organizationId"], id_of(&path));
    read(&script, &path).await.expect(200);
    switch_to(&script, Value::Null).await.expect_problem(403, "auth.scope_missing");
    script.post("/api/organizations", json!({ "name": "A" })).await.expect_problem(403, "auth.scope_missing");
    remove(&script, &path, &eve).await.expect_problem(403, "auth.scope_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_may_do_at_home_it_may_not_do_elsewhere() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let (email, eve) = registry.verified().await;
    let roles = json!({ "roles": ["applicant", "pro", "organizer", "auditor"] });
    admin().await.put(&format!("/api/admin/users/{}/roles", eve.user_id), roles).await.expect(200);
    invite(&grace, &path, &email, "member").await.expect(200);
    accept(&eve, &only_invitation(&eve).await).await.expect(200);
    assert_eq!(acting_in(&eve).await["roles"], json!(["applicant", "pro", "auditor", "organizer"]));
    act_in(&eve, &path).await;
    let acting = acting_in(&eve).await;
    assert_eq!((&acting["roles"], &acting["permissions"]), (&json!(["applicant", "auditor"]), &json!([])));
    let at_home = submitted(&applicant().await).await;
    eve.post(&format!("{at_home}/start-review"), json!({})).await.expect_problem(403, "access.forbidden");
}
