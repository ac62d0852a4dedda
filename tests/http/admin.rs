//! Running the instance: its users and its projections.

use serde_json::json;
use uuid::Uuid;

use super::*;

#[tokio::test]
async fn the_users_are_listed_the_newest_first() {
    let admin = admin().await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.insert(0, json!(applicant().await.user_id));
    }
    let mut found = Vec::new();
    let mut cursor = format!("&minPosition={}", head().await);
    // Others register as well, so they need not stand side by side.
    for _ in 0..40 {
        let page = admin.get(&format!("/api/admin/users?limit=10{cursor}")).await.expect(200);
        found.extend(items(&page).iter().filter(|user| expected.contains(&user["id"])).cloned());
        let Some(next) = page.body["nextCursor"].as_str().filter(|_| found.len() < 3) else { break };
        cursor = format!("&cursor={next}");
    }
    let ids: Vec<Value> = found.iter().map(|user| user["id"].clone()).collect();
    assert_eq!(ids, expected);
    let user = &found[0];
    assert_eq!((&user["name"], &user["roles"]), (&json!("Ada Lovelace"), &json!(["applicant"])));
    assert_eq!(
        (&user["status"], user["email"].as_str().map(|email| email.ends_with("@capitune.test"))),
        (&json!("active"), Some(true))
    );
    assert!(user.get("password").is_none() && user.get("passwordHash").is_none());
}

#[tokio::test]
async fn roles_are_set_whole_and_an_account_stays_an_applicant() {
    let (admin, ada) = (admin().await, applicant().await);
    let path = format!("/api/admin/users/{}/roles", ada.user_id);
    for (roles, expected) in [
        (json!(["pro", "auditor"]), json!(["applicant", "pro", "auditor"])),
        (json!(["analyst", "analyst"]), json!(["applicant", "analyst"])),
        (json!(["admin"]), json!(["applicant", "admin"])),
        (json!([]), json!(["applicant"])),
    ] {
        admin.put(&path, json!({ "roles": roles })).await.expect(200);
        assert_eq!(ada.get("/api/users/me").await.expect(200).body["roles"], expected);
    }
    // To set what is set changes nothing.
    let once = admin.put(&path, json!({ "roles": ["pro"] })).await.expect(200);
    assert_eq!(admin.put(&path, json!({ "roles": ["pro", "applicant"] })).await.expect(200).body, once.body);
    for bad in [
        json!({}),
        json!({ "roles": null }),
        json!({ "roles": "pro" }),
        json!({ "roles": ["root"] }),
        json!({ "roles": [1] }),
        json!({ "roles": ["Pro"] }),
        json!({ "roles": [], "status": "active" }),
    ] {
        let answer = admin.put(&path, bad.clone()).await;
        assert_eq!(answer.status, 422, "{bad}");
        assert!(answer.body["errors"][0]["pointer"].is_string());
    }
    let unknown = format!("/api/admin/users/{}/roles", Uuid::now_v7());
    admin.put(&unknown, json!({ "roles": ["pro"] })).await.expect_problem(404, "account.not_found");
}

#[tokio::test]
async fn a_status_is_set_with_a_reason() {
    let (admin, ada) = (admin().await, applicant().await);
    let path = format!("/api/admin/users/{}/status", ada.user_id);
    for bad in [
        json!({}),
        json!({ "status": "suspended" }),
        json!({ "status": "suspended", "reason": "" }),
        json!({ "status": "suspended", "reason": null }),
        json!({ "status": "suspended", "reason": "r".repeat(5_001) }),
        json!({ "status": "banned", "reason": "x" }),
        json!({ "status": "Suspended", "reason": "x" }),
        json!({ "status": true, "reason": "x" }),
    ] {
        assert_eq!(admin.put(&path, bad.clone()).await.status, 422, "{bad}");
    }
    ada.get("/api/users/me").await.expect(200);
    // Setting what is set changes nothing.
    let same = admin.put(&path, json!({ "status": "active", "reason": "x" })).await.expect(200);
    assert_eq!(same.body["version"], 1);
    let once = admin.put(&path, json!({ "status": "suspended", "reason": "x" })).await.expect(200);
    assert_eq!(admin.put(&path, json!({ "status": "suspended", "reason": "y" })).await.expect(200).body, once.body);
    let unknown = format!("/api/admin/users/{}/status", Uuid::now_v7());
    let unknown = admin.put(&unknown, json!({ "status": "suspended", "reason": "x" })).await;
    unknown.expect_problem(404, "account.not_found");
}

#[tokio::test]
async fn admins_keep_their_own_rights() {
    let admin = person("admin").await;
    let path = format!("/api/admin/users/{}", admin.user_id);
    admin.put(&format!("{path}/roles"), json!({ "roles": ["pro"] })).await.expect_problem(409, "account.own_rights");
    let suspended = json!({ "status": "suspended", "reason": "x" });
    admin.put(&format!("{path}/status"), suspended).await.expect_problem(409, "account.own_rights");
    admin.put(&format!("{path}/roles"), json!({ "roles": ["admin", "pro"] })).await.expect(200);
    // Another may take them away, and then they are gone.
    let other = self::admin().await;
    other.put(&format!("{path}/roles"), json!({ "roles": ["applicant"] })).await.expect(200);
    admin.get("/api/admin/users").await.expect_problem(403, "access.forbidden");
}

#[tokio::test]
async fn the_projections_tell_where_they_are() {
    let admin = admin().await;
    let position = applicant().await.create_dossier("x").await.position();
    let list = admin.get(&format!("/api/admin/projections?minPosition={position}")).await.expect(200);
    let known: Vec<&str> = items(&list).iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert!(known.contains(&"dossier") && known.contains(&"account"), "{known:?}");
    for item in items(&list) {
        let number = |name: &str| item[name].as_u64().unwrap_or_else(|| panic!("{name}: {item}"));
        assert!(number("version") >= 1);
        assert!(number("head") >= position);
        assert_eq!(number("lag"), number("head") - number("position"));
        assert_eq!((number("failed"), &item["status"]), (0, &json!("running")), "{item}");
    }
}

#[tokio::test]
async fn a_rebuild_interrupts_no_reader_and_changes_nothing() {
    let (admin, ada, pro) = (admin().await, applicant().await, person("pro").await);
    let path = dossier_in("accepted", &ada, &pro).await;
    for number in 0..10 {
        ada.create_dossier(&format!("{number}")).await;
    }
    let before = ada.get(&format!("/api/dossiers?limit=100&minPosition={}", head().await)).await.expect(200);
    let one = ada.get(&path).await.expect(200);
    let started = call(&admin, Method::POST, "/api/admin/projections/dossier/rebuild", &[], None).await;
    assert!((200..300).contains(&started.status), "{started:?}");
    let mut rounds = 0;
    loop {
        let list = ada.get("/api/dossiers?limit=100").await.expect(200);
        assert_eq!(list.body, before.body, "round {rounds}");
        // What is written meanwhile is read at once.
        let edited =
            put_with(&ada, "/api/users/me", &[], json!({ "name": format!("name {rounds}") })).await.expect(200);
        let read = ada.get(&format!("{path}?minPosition={}", edited.position())).await.expect(200);
        assert_eq!(read.body, one.body);
        let projections = admin.get("/api/admin/projections").await.expect(200);
        let dossier = items(&projections).iter().find(|item| item["name"] == "dossier").unwrap().clone();
        assert_ne!(dossier["rebuild"]["status"], "failed", "{dossier}");
        rounds += 1;
        if dossier["rebuild"]["status"] == "finished" {
            break;
        }
        assert!(rounds < 1_000, "{dossier}");
    }
    let edited = ada.put(&new_dossier(&ada).await, json!({ "title": "after" })).await.expect(200);
    let list = ada.get(&format!("/api/dossiers?minPosition={}", edited.position())).await.expect(200);
    assert_eq!(items(&list)[0]["title"], "after");
    for unknown in ["nothing", "Dossier", "dossier%20", "%00", "'", "..%2fdossier"] {
        let answer = call(&admin, Method::POST, &format!("/api/admin/projections/{unknown}/rebuild"), &[], None).await;
        answer.expect_problem(404, "projection.not_found");
    }
}
