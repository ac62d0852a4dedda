//! Case files: what an auditor takes along, and what anybody can verify of it.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::*;
use crate::support::archive::{Files, unpack};
use crate::support::data_directory::run;

async fn case_file(reader: &Client, id: &str, language: &str) -> Vec<u8> {
    let request = reader.request(Method::GET, &format!("/api/dossiers/{id}/case-file"));
    let response = request.header("Accept-Language", language).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/zip".parse().unwrap())
    );
    response.bytes().await.unwrap().to_vec()
}

fn pack(files: &Files) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        archive.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The same with another content of one JSON file.
fn with(files: &Files, name: &str, change: impl Fn(&mut Vec<Value>)) -> Vec<u8> {
    let mut files = files.clone();
    let text = files.get_mut(name).unwrap();
    let mut items: Vec<Value> = serde_json::from_str(text).unwrap();
    change(&mut items);
    *text = json!(items).to_string();
    pack(&files)
}

/// Verifies a case file where nothing runs.
async fn verify(archive: &[u8], keys: &[&str]) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive).unwrap();
    let mut command = Process::command(&["audit", "verify-case"]);
    command.arg(file.path()).env("CAPITUNE_DATA_DIR", "/nowhere");
    for key in keys {
        command.args(["--key", key]);
    }
    run(command).await
}

async fn key(auditor: &Client) -> String {
    let keys = auditor.get("/api/audit/keys").await.expect(200);
    items(&keys)[0]["verifierKey"].as_str().unwrap().to_owned()
}

/// A dossier that was edited, submitted, sent back and submitted again.
async fn reviewed(ada: &Client) -> String {
    let pro = person("pro").await;
    let created = ada.create_dossier("<script>alert(1)</script>").await;
    let path = format!("/api/dossiers/{}", created.id());
    ada.put(&path, json!({ "description": "Three rooms" })).await.expect(200);
    ada.post(&format!("{path}/submit"), json!({})).await.expect(200);
    pro.post(&format!("{path}/start-review"), json!({})).await.expect(200);
    let asked = json!({ "reason": "incomplete", "message": "Which <floor>?" });
    pro.post(&format!("{path}/request-changes"), asked).await.expect(200);
    ada.post(&format!("{path}/submit"), json!({ "note": "The third" })).await.expect(200);
    created.id().to_string()
}

#[tokio::test]
async fn a_case_file_tells_the_whole_history_and_is_verified_where_nothing_runs() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let id = reviewed(&ada).await;
    let archive = case_file(&auditor, &id, "en").await;
    let (code, said) = verify(&archive, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("6 events of the dossier {id}, none missing among them")), "{said}");
    assert!(said.contains("compare it with one that you know"), "{said}");
    let key = key(&auditor).await;
    let (code, said) = verify(&archive, &[&key]).await;
    assert!(code == Some(0) && said.contains(&key) && !said.contains("compare"), "{said}");

    let files = unpack(&archive);
    let history: Vec<Value> = serde_json::from_str(&files["history.json"]).unwrap();
    assert_eq!(history.len(), 6);
    let answered = auditor.get(&format!("/api/dossiers/{id}/history?limit=100")).await.expect(200);
    assert_eq!(history, items(&answered));
    assert!(&files["dossier.json"].contains("Three rooms"));
    let report = &files["report.html"];
    for expected in ["&lt;script&gt;", "Three rooms", "Which &lt;floor&gt;?", "DossierSubmitted", "What changed"] {
        assert!(report.contains(expected), "{expected} in {report}");
    }
    assert!(!report.contains("<script"));
    let french = unpack(&case_file(&auditor, &id, "fr").await);
    assert!(&french["report.html"].contains("Ce qui a changé"));

    // By the verifier that comes with it, too.
    let directory = tempfile::tempdir().unwrap();
    ZipArchive::new(Cursor::new(&archive)).unwrap().extract(directory.path()).unwrap();
    let mut node = Command::new("node");
    node.current_dir(directory.path()).args(["verify.mjs", &key, "evidence/head.txt", "evidence/proofs.json"]);
    let (code, said) = run(node).await;
    assert!(code == Some(0) && said.matches("under it at").count() == 6, "{said}");
}

#[tokio::test]
async fn nothing_that_is_proved_can_be_changed_in_a_case_file() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let id = reviewed(&ada).await;
    let other = unpack(&case_file(&auditor, &reviewed(&ada).await, "en").await);
    let files = unpack(&case_file(&auditor, &id, "en").await);
    let key = key(&auditor).await;
    let (history, proofs) = ("history.json", "evidence/proofs.json");
    let swap = |name: &str, position: usize| {
        let foreign: Vec<Value> = serde_json::from_str(&other[name]).unwrap();
        with(&files, name, |items| items[position] = foreign[position].clone())
    };
    // An event of another dossier, proved under the same head.
    let foreign: Vec<Value> = serde_json::from_str(&other[history]).unwrap();
    let own: Vec<Value> = serde_json::from_str(&files[proofs]).unwrap();
    let asked = format!("inclusion?position={}&size={}", foreign[3]["position"], own[0]["size"]);
    let foreign = auditor.get(&format!("/api/audit/proofs/{asked}")).await.expect(200).body;
    let without = |name: &str| with(&files, name, |items| drop(items.remove(2)));
    let both = {
        let kept = unpack(&without(proofs));
        with(&kept, history, |items| drop(items.remove(2)))
    };
    let note = files.iter().map(|(name, text)| match name.as_str() {
        "evidence/head.txt" => (name.clone(), text.replacen("\nat 20", "\nat 19", 1)),
        _ => (name.clone(), text.clone()),
    });
    let forged = [
        (
            "history",
            with(&files, history, |items| items[1]["actor"]["id"] = json!(ada.user_id.to_string().replace('1', "2"))),
        ),
        ("history", with(&files, history, |items| items[4]["type"] = json!("DossierAccepted"))),
        ("history", with(&files, history, |items| items[0]["at"] = json!("2020-01-01T00:00:00Z"))),
        ("history", with(&files, history, |items| items[0]["data"]["title"] = json!("Another"))),
        ("history", with(&files, history, |items| drop(items[0]["data"].as_object_mut().unwrap().remove("category")))),
        ("history", with(&files, history, |items| items[1]["data"]["title"] = json!({ "from": "a", "to": "b" }))),
        ("history", with(&files, history, |items| items[5]["data"]["revision"] = json!(1))),
        ("history", with(&files, history, |items| items[3]["actor"]["role"] = json!("admin"))),
        ("history", with(&files, history, |items| items[3]["requestId"] = json!("another"))),
        ("history", with(&files, history, |items| items[3]["causationId"] = json!(uuid::Uuid::nil()))),
        ("as many proofs", without(history)),
        ("as many proofs", without(proofs)),
        ("missing", both),
        ("another dossier", with(&files, proofs, |items| items[3] = foreign.clone())),
        ("history", swap(history, 3)),
        ("not under the head", with(&files, proofs, |items| items[3]["path"][0] = items[3]["leafHash"].clone())),
        ("position", with(&files, proofs, |items| items[3]["leaf"] = json!("AAAA"))),
        ("position", with(&files, proofs, |items| items[3]["position"] = json!(1))),
        ("signed", pack(&note.collect())),
        ("no case file", b"nonsense".to_vec()),
        ("no case file", Vec::new()),
        ("no case file", pack(&files.clone().into_iter().take(3).collect())),
    ];
    for (expected, archive) in forged {
        let (code, said) = verify(&archive, &[&key]).await;
        assert!(code == Some(1) && said.contains(expected), "{expected}: {code:?} {said}");
    }
    let another = "capitune/x+00000000+AAAA";
    assert_ne!(verify(&pack(&files), &[another]).await.0, Some(0));
    assert_eq!(verify(&pack(&files), &[&key]).await.0, Some(0), "packed anew, it is the same");
}

#[tokio::test]
async fn who_takes_a_case_file_is_on_record_for_its_owner() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let created = ada.create_dossier("x").await;
    case_file(&auditor, &created.id().to_string(), "en").await;
    let seen = ada.get("/api/users/me/accesses?limit=100").await.expect(200);
    let taken = items(&seen).iter().find(|access| access["action"] == "export").expect("it is on record");
    assert_eq!((&taken["actorId"], &taken["resourceId"]), (&json!(auditor.user_id), &json!(created.id())));
}
