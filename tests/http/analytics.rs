//! The figures and the change feed: what was done, counted, and nothing personal.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::*;

/// The item of a list whose members have these values.
fn row<'a>(answer: &'a Answer, members: &[(&str, &Value)]) -> &'a Value {
    let found = items(answer).iter().find(|item| members.iter().all(|(name, value)| item[name] == **value));
    found.unwrap_or(&Value::Null)
}

#[tokio::test]
async fn the_instance_at_a_glance_is_what_was_done() {
    // A system of its own, since everything is counted.
    let process = Process::api(&database_url().await, &[]).await;
    let admin = process.admin().await;
    let (ada, pro) = (process.client().register("Ada").await, admin.register_with_roles("Pro", &["pro"]).await);
    let analyst = admin.register_with_roles("Anna", &["analyst"]).await;
    for state in ["draft", "draft", "submitted", "in_review", "accepted", "refused", "withdrawn", "discarded"] {
        dossier_in(state, &ada, &pro).await;
    }
    let reopened = dossier_in("accepted", &ada, &pro).await;
    let last = obey(&pro, &reopened, "reopen").await.expect(200).position();
    for reader in [&analyst, &admin] {
        let glance = reader.get(&format!("/api/admin/analytics?minPosition={last}")).await.expect(200);
        let mut by_status: BTreeMap<&str, i64> = BTreeMap::new();
        for count in glance.body["byStatus"].as_array().unwrap() {
            by_status.insert(count["status"].as_str().unwrap(), count["dossiers"].as_i64().unwrap());
        }
        by_status.retain(|_, dossiers| *dossiers != 0);
        let expected =
            [("draft", 2), ("submitted", 1), ("in_review", 2), ("accepted", 1), ("refused", 1), ("withdrawn", 1)];
        assert_eq!(by_status, BTreeMap::from(expected), "{:#}", glance.body);
        assert_eq!((&glance.body["accounts"], &glance.body["dossiers"]), (&json!(4), &json!(8)));
        assert_eq!((&glance.body["submittedToday"], &glance.body["decidedToday"]), (&json!(6), &json!(3)));
    }
    // The feed, followed to its end, is what is there.
    let mut things = BTreeMap::new();
    let mut after = 0;
    loop {
        let page =
            analyst.get(&format!("/api/analytics/changes?limit=3&after={after}&minPosition={last}")).await.expect(200);
        for item in items(&page) {
            assert_eq!(names(item), ["change", "data", "id", "kind", "position"]);
            assert!(item["position"].as_u64().unwrap() > after || things.is_empty());
            things.insert(item["id"].as_str().unwrap().to_owned(), item.clone());
        }
        let next = page.body["after"].as_u64().unwrap();
        assert!(next >= after);
        after = next;
        if items(&page).is_empty() {
            break;
        }
    }
    let dossiers: Vec<&Value> = things.values().filter(|thing| thing["kind"] == "dossier").collect();
    assert_eq!(dossiers.len(), 9);
    let gone: Vec<_> = dossiers.iter().filter(|thing| thing["change"] == "tombstone").collect();
    assert_eq!((gone.len(), &gone[0]["data"]), (1, &Value::Null));
    let accepted = dossiers.iter().filter(|thing| thing["data"]["status"] == "accepted").count();
    assert_eq!(accepted, 1);
    assert!(after >= last);
}

#[tokio::test]
async fn the_read_models_count_what_was_done() {
    let (ada, pro, analyst) = (applicant().await, person("pro").await, person("analyst").await);
    let category = format!("c{}", &ada.user_id.simple().to_string()[8..]);
    for (state, done) in [("accepted", "reopen"), ("refused", ""), ("accepted", ""), ("submitted", "")] {
        let path = dossier_in("draft", &ada, &pro).await;
        ada.put(&path, json!({ "category": category })).await.expect(200);
        for command in way_to(state).iter().copied().chain([done]).filter(|command| !command.is_empty()) {
            obey(if OWNERS.contains(&command) { &ada } else { &pro }, &path, command).await.expect(200);
        }
    }
    let position = head().await;
    let read = |name: &'static str| {
        let analyst = analyst.clone();
        async move { analyst.get(&format!("/api/analytics/{name}?minPosition={position}")).await.expect(200) }
    };
    let decisions = read("decisionsByReviewer").await;
    let mine = row(&decisions, &[("reviewerId", &json!(pro.user_id))]);
    assert_eq!((&mine["accepted"], &mine["refused"], &mine["closed"]), (&json!(2), &json!(1), &json!(0)));
    let days = read("dossiersByDay").await;
    let today = json!(chrono::Utc::now().date_naive());
    for (status, entered) in [("submitted", 4), ("accepted", 2), ("refused", 1)] {
        let day = row(&days, &[("category", &json!(category)), ("status", &json!(status)), ("day", &today)]);
        assert_eq!(day["entered"], entered, "{status}: {:#}", days.body);
    }
    let stays = read("timeInStatus").await;
    let in_review = row(&stays, &[("category", &json!(category)), ("status", &json!("in_review"))]);
    assert_eq!(in_review["stays"], 3, "{:#}", stays.body);
    assert!(in_review["totalMs"].as_u64().is_some_and(|milliseconds| milliseconds < 60_000));
    let now = read("dossiersByStatus").await;
    assert!(row(&now, &[("status", &json!("refused"))])["dossiers"].as_u64() >= Some(1));
    let tomorrow = chrono::Utc::now().date_naive() + chrono::Days::new(2);
    let later = analyst.get(&format!("/api/analytics/dossiersByDay?from={tomorrow}")).await.expect(200);
    assert!(items(&later).is_empty());
    for bad in ["nothing", "DossiersByDay", "%00", "..", "accounts", "'"] {
        let answer = analyst.get(&format!("/api/analytics/{bad}")).await;
        assert!(matches!(answer.status, 404 | 422), "{bad}: {answer:?}");
    }
    for bad in ["from=x", "from=2026-02-30", "to=", "from=0", "day=2026-01-01"] {
        let answer = analyst.get(&format!("/api/analytics/dossiersByDay?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
}

#[tokio::test]
async fn the_feed_waits_for_a_change() {
    let (ada, analyst) = (applicant().await, person("analyst").await);
    let path = new_dossier(&ada).await;
    let after = head().await;
    let change = {
        let analyst = analyst.clone();
        tokio::spawn(async move {
            analyst.get(&format!("/api/analytics/changes?after={after}&wait=20&minPosition={after}")).await
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    ada.put(&path, json!({ "title": "changed" })).await.expect(200);
    let change = change.await.unwrap().expect(200);
    assert!(items(&change)[0]["position"].as_u64() > Some(after));
    let started = Instant::now();
    let nothing = analyst.get(&format!("/api/analytics/changes?after={}&wait=1", i64::MAX)).await.expect(200);
    assert!(items(&nothing).is_empty());
    assert!((900..4_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    for bad in
        ["wait=31", "wait=-1", "wait=x", "after=-1", "after=9223372036854775808", "limit=0", "limit=101", "cursor=x"]
    {
        let answer = analyst.get(&format!("/api/analytics/changes?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
}

#[tokio::test]
async fn nothing_personal_is_counted() {
    let secret = Uuid::now_v7().simple().to_string();
    let analyst = person("analyst").await;
    let ada = nobody().await.register(&format!("name{secret}")).await;
    let start = head().await;
    let body = json!({ "title": format!("title{secret}"), "category": "x", "description": format!("text{secret}"), "fields": { "a": secret } });
    let position = ada.post("/api/dossiers", body).await.expect(201).position();
    for path in [
        format!("/api/analytics/changes?limit=100&after={start}&minPosition={position}"),
        "/api/admin/analytics".to_owned(),
        "/api/analytics/dossiersByDay".to_owned(),
        "/api/analytics/dossiersByStatus".to_owned(),
        "/api/analytics/decisionsByReviewer".to_owned(),
    ] {
        let answer = analyst.get(&path).await.expect(200);
        let text = answer.body.to_string();
        assert!(!text.contains(&secret) && !text.contains("@capitune.test"), "{path}: {text}");
    }
}
