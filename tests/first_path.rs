//! The path from a command to its three readers, once.

use serde_json::json;

use crate::support::database_url;
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn an_applicant_changes_a_dossier_an_auditor_replays_it_an_analyst_counts_it() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let admin = system.admin().await;
    let applicant = system.client().register("Ada").await;
    let pro = admin.register_with_roles("Grace", &["applicant", "pro"]).await;
    let auditor = admin.register_with_roles("Audrey", &["applicant", "auditor"]).await;
    let analyst = admin.register_with_roles("Anna", &["applicant", "analyst"]).await;

    let created = applicant.create_dossier("A request").await;
    let path = format!("/api/dossiers/{}", created.id());
    applicant.put(&path, json!({ "title": "A request for housing" })).await.expect(200);
    applicant.post(&format!("{path}/submit"), json!({})).await.expect(200);
    pro.post(&format!("{path}/start-review"), json!({})).await.expect(200);
    let accepted = pro.post(&format!("{path}/accept"), json!({})).await.expect(200);
    let position = accepted.position();

    let read = applicant.get(&format!("{path}?minPosition={position}")).await.expect(200);
    assert_eq!((&read.body["status"], &read.body["title"]), (&json!("accepted"), &json!("A request for housing")));
    assert_eq!(read.body["description"], "Two rooms");

    let history = auditor.get(&format!("{path}/history")).await.expect(200);
    let types: Vec<&str> =
        history.body["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    let expected = ["DossierCreated", "DossierEdited", "DossierSubmitted", "ReviewStarted", "DossierAccepted"];
    assert_eq!(types, expected);
    let before = auditor.get(&format!("{path}?version=1")).await.expect(200);
    assert_eq!((&before.body["status"], &before.body["title"]), (&json!("draft"), &json!("A request")));

    let glance = analyst.get(&format!("/api/admin/analytics?minPosition={position}")).await.expect(200);
    assert!(glance.body.to_string().contains("accepted"), "{:#}", glance.body);
}
