//! Invitations and members.

use futures::future::join_all;
use uuid::Uuid;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_joins_once_and_by_their_own_address() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    // The address has no account yet; the answer is the same as for one that has.
    let email = format!("{}@capitune.test", Uuid::now_v7().simple());
    invite(&grace, &path, &email, "pro").await.expect(200);
    let body = json!({ "email": email, "password": PASSWORD, "name": "Eve" });
    nobody().await.post("/api/auth/register", body).await.expect(201);
    let eve = nobody().await.log_in(&email, PASSWORD).await;
    eve.get("/api/users/me/invitations").await.expect_problem(403, "account.unverified");
    let listed = grace.get(&format!("{path}/invitations")).await.expect(200);
    let invitation = items(&listed)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&items(&listed)[0]["email"], &items(&listed)[0]["role"]), (&json!(email), &json!("pro")));
    accept(&eve, &invitation).await.expect_problem(403, "account.unverified");
    prove_address(registry.0.store.vault(), &eve, &email).await;
    let (_, mallory) = registry.verified().await;
    assert!(items(&mallory.get("/api/users/me/invitations").await.expect(200)).is_empty());
    accept(&mallory, &invitation).await.expect_problem(404, "invitation.not_found");
    let decline = format!("/api/users/me/invitations/{invitation}");
    mallory.delete(&decline).await.expect_problem(404, "invitation.not_found");
    accept(&mallory, &Uuid::now_v7().to_string()).await.expect_problem(404, "invitation.not_found");
    assert_eq!(only_invitation(&eve).await, invitation);
    let key = [("idempotency-key", "join")];
    let joining = format!("/api/users/me/invitations/{invitation}/accept");
    let joined = post_with(&eve, &joining, &key, json!({})).await.expect(200);
    let again = post_with(&eve, &joining, &key, json!({})).await.expect(200);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&joined.body, "true"));
    accept(&eve, &invitation).await.expect_problem(404, "invitation.not_found");
    assert_eq!(roles_in(&eve, &path).await, ["admin", "pro"]);
    assert!(items(&grace.get(&format!("{path}/invitations")).await.expect(200)).is_empty());
    let members = read(&grace, &format!("{path}/members")).await.expect(200);
    assert_eq!(items(&members)[1]["name"], "Eve");
    // It is on record, and visible to her.
    let accesses = eve.get("/api/users/me/accesses").await.expect(200);
    let change = items(&accesses).iter().find(|access| access["action"] == "changeRoles").unwrap();
    assert_eq!(change["detail"], json!({ "from": null, "to": "pro" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_sent_once_and_can_be_taken_back_or_turned_down() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let (email, eve) = registry.verified().await;
    let first = invite(&grace, &path, &email, "member").await.expect(200);
    let second = invite(&grace, &path, &email.to_uppercase(), "member").await.expect(200);
    assert_eq!(first.body["version"], second.body["version"]);
    invite(&grace, &path, &email, "admin").await.expect_problem(409, "organization.already_invited");
    let invitation = only_invitation(&eve).await;
    let revoke = Some(json!({ "invitationId": invitation }));
    call(&grace, Method::DELETE, &format!("{path}/invitations"), &[], revoke).await.expect(200);
    assert!(items(&eve.get("/api/users/me/invitations").await.expect(200)).is_empty());
    accept(&eve, &invitation).await.expect_problem(404, "invitation.not_found");
    invite(&grace, &path, &email, "admin").await.expect(200);
    let invitation = only_invitation(&eve).await;
    eve.delete(&format!("/api/users/me/invitations/{invitation}")).await.expect(200);
    accept(&eve, &invitation).await.expect_problem(404, "invitation.not_found");
    // One that has run out is worth nothing, and is forgotten.
    invite(&grace, &path, &email, "admin").await.expect(200);
    let invitation = only_invitation(&eve).await;
    let late = "update invitations set expires_at = clock_timestamp() where id = ";
    execute(&system().await.database_url, &format!("{late}'{invitation}'")).await;
    accept(&eve, &invitation).await.expect_problem(404, "invitation.not_found");
    assert_eq!(roles_in(&grace, &path).await, ["admin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_or_is_removed_acts_there_no_longer_on_any_node() {
    let registry = Registry::open().await;
    let other = Process::api(&system().await.database_url, &["api"]).await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let eve = registry.member(&grace, &path, "pro").await;
    let ada = registry.member(&grace, &path, "member").await;
    let dossier = submitted(&ada).await;
    let elsewhere = eve.at(&other.url());
    read(&elsewhere, &dossier).await.expect(200);
    let token = json!({ "name": "A script", "scopes": ["dossiers:read"] });
    let token = eve.post("/api/auth/tokens", token).await.expect(201);
    let script = elsewhere.with_token(token.body["token"].as_str().unwrap());
    read(&script, &dossier).await.expect(200);
    remove(&grace, &path, &eve).await.expect(200);
    crate::support::eventually("she is out everywhere", async || {
        let answers = join_all([&eve, &elsewhere, &script].map(|client| client.get(&dossier))).await;
        answers.iter().all(|answer| answer.status == 401)
    })
    .await;
    eve.get(&dossier).await.expect_problem(401, "auth.session_ended");
    script.get(&dossier).await.expect_problem(401, "auth.invalid_token");
    // She comes in again, and is at home.
    eve.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    remove(&ada, &path, &ada).await.expect(200);
    ada.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    assert_eq!(roles_in(&grace, &path).await, ["admin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_admins_who_turn_on_each_other_one_remains() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    remove(&grace, &path, &grace).await.expect_problem(409, "organization.last_admin");
    change_role(&grace, &path, &grace, "member").await.expect_problem(409, "organization.last_admin");
    for _ in 0..5 {
        let eve = registry.joined(&grace, &path, "admin").await;
        let (one, other) = tokio::join!(change_role(&grace, &path, &eve, "member"), remove(&eve, &path, &grace));
        assert!([one.status, other.status].contains(&200), "{one:?} {other:?}");
        let grace_remains = read(&grace, &path).await.status == 200;
        let admin = if grace_remains { &grace } else { &eve };
        assert!(roles_in(admin, &path).await.contains(&"admin".to_owned()));
        if !grace_remains {
            return;
        }
        remove(&grace, &path, &eve).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_belongs_nowhere_and_an_organization_can_have_an_admin_again() {
    let registry = Registry::open().await;
    let grace = applicant().await;
    let path = organization(&grace).await;
    let eve = registry.joined(&grace, &path, "member").await;
    let (email, bob) = registry.verified().await;
    invite(&grace, &path, &email, "member").await.expect(200);
    bob.delete("/api/users/me").await.expect(200);
    let left: Vec<Value> = items(&grace.get(&format!("{path}/invitations")).await.expect(200)).to_vec();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["email"], Value::Null, "the address is forgotten with its owner");
    grace.delete("/api/users/me").await.expect(200);
    assert_eq!(roles_in(&eve, &path).await, ["member"]);
    let admin = admin().await;
    change_role(&admin, &path, &eve, "admin").await.expect(200);
    assert_eq!(roles_in(&eve, &path).await, ["admin"]);
    admin.put(&path, json!({ "name": "Theirs" })).await.expect_problem(403, "access.forbidden");
}
