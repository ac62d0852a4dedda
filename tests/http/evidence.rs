//! Signed tree heads and proofs, as an auditor gets them and as anybody verifies them.

use event_store::audit::{Hash, SignedHead, VerifierKey, verify_consistency, verify_inclusion};

use super::*;

fn hash(value: &Value) -> Hash {
    value.as_str().unwrap().parse().unwrap()
}

fn path(proof: &Value) -> Vec<Hash> {
    proof["path"].as_array().unwrap().iter().map(hash).collect()
}

/// The head that covers this position, verified.
async fn head(auditor: &Client, position: u64) -> SignedHead {
    let answer =
        get_with(auditor, &format!("/api/audit/head?minPosition={position}"), &[("accept", "text/plain")]).await;
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let head: SignedHead = answer.body.as_str().unwrap().parse().unwrap();
    assert!(head.head.size >= position && answer.header("capitune-position") == head.head.size.to_string());
    let keys = auditor.get("/api/audit/keys").await.expect(200);
    let key: VerifierKey = items(&keys)[0]["verifierKey"].as_str().unwrap().parse().unwrap();
    assert!(head.is_signed_by(&key));
    head
}

#[tokio::test]
async fn a_head_is_signed_within_seconds_of_what_it_covers() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let position = ada.create_dossier("x").await.position();
    let answer = auditor.get(&format!("/api/audit/head?minPosition={position}")).await.expect(200);
    assert_eq!(names(&answer.body), ["at", "keyId", "origin", "rootHash", "signature", "size"]);
    let size = answer.body["size"].as_u64().unwrap();
    assert!(size >= position && answer.header("capitune-position") == size.to_string());
    let note = head(&auditor, size).await;
    assert_eq!(note.head.origin, answer.body["origin"].as_str().unwrap());
    // Beyond the log there is nothing to sign, yet.
    let beyond = [("prefer", "wait=1")];
    let lagging = get_with(&auditor, "/api/audit/head?minPosition=99999999", &beyond).await;
    lagging.expect_problem(504, "projection.lagging");
}

#[tokio::test]
async fn an_event_is_proved_to_be_under_a_head_and_an_old_head_to_be_under_a_new_one() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let first = ada.create_dossier("x").await.position();
    let old = head(&auditor, first).await.head;
    let position = ada.create_dossier("y").await.position();
    let new = head(&auditor, position).await.head;
    for (position, head) in [(first, &old), (first, &new), (position, &new)] {
        let asked = format!("/api/audit/proofs/inclusion?position={position}&size={}", head.size);
        let proof = auditor.get(&asked).await.expect(200).body;
        assert_eq!(names(&proof), ["leaf", "leafHash", "path", "position", "rootHash", "size"]);
        assert_eq!(hash(&proof["rootHash"]), head.root);
        assert!(verify_inclusion(hash(&proof["leafHash"]), position - 1, head.size, &path(&proof), head.root));
    }
    let asked = format!("/api/audit/proofs/consistency?from={}&to={}", old.size, new.size);
    let proof = auditor.get(&asked).await.expect(200).body;
    assert_eq!(names(&proof), ["from", "path", "to"]);
    assert!(verify_consistency(old.size, new.size, old.root, new.root, &path(&proof)));
    // Without a size it is the newest head's.
    let newest = auditor.get("/api/audit/proofs/inclusion?position=1").await.expect(200).body;
    assert!(newest["size"].as_u64().unwrap() >= new.size);
}

/// Runs the verifier that needs nothing of ours.
async fn verify(key: &str, files: &[&str]) -> (bool, String) {
    let mut node = tokio::process::Command::new("node");
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify.mjs")).arg(key).args(files);
    let output = node.output().await.unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn nobody_has_to_trust_us() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let key = items(&auditor.get("/api/audit/keys").await.expect(200))[0]["verifierKey"].as_str().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.display().to_string()
    };
    for _ in 0..4 {
        let first = ada.create_dossier("x").await;
        let (id, first) = (first.id(), first.position());
        let older = head(&auditor, first).await;
        let newer = head(&auditor, ada.create_dossier("y").await.position()).await;
        let (from, to) = (older.head.size, newer.head.size);
        let (older, newer) = (write("older", &older.note()), write("newer", &newer.note()));
        let proof = async |query: String| auditor.get(&format!("/api/audit/proofs/{query}")).await.expect(200).body;
        let inclusion = proof(format!("inclusion?position={first}&size={to}")).await;
        let file = write("inclusion", &inclusion.to_string());
        let (verified, said) = verify(&key, &[&newer, &file]).await;
        assert!(verified && said.contains(&id.to_string()) && said.contains("DossierCreated"), "{said}");
        let consistency = write("consistency", &proof(format!("consistency?from={from}&to={to}")).await.to_string());
        let (verified, said) = verify(&key, &[&newer, &consistency, &older]).await;
        assert!(verified && said.contains("history begins with"), "{said}");
        // Anything else is noticed.
        let (verified, said) = verify(&key, &[&older, &file]).await;
        assert!(!verified && said.contains("another head"), "{said}");
        let mut forged = inclusion.clone();
        let leaf = forged["leaf"].as_str().unwrap().to_owned();
        forged["leaf"] = leaf.replacen(char::is_lowercase, "A", 40).into();
        let (verified, said) = verify(&key, &[&newer, &write("forged", &forged.to_string())]).await;
        assert!(!verified, "{said}");
        let note = std::fs::read_to_string(&newer).unwrap();
        let forged = write("forged", &note.replacen(&format!("\n{to}\n"), &format!("\n{}\n", to + 1), 1));
        let (verified, said) = verify(&key, &[&forged]).await;
        assert!(!verified && said.contains("wrong signature"), "{said}");
    }
}

#[tokio::test]
async fn what_cannot_be_proved_is_refused_with_what_can() {
    let auditor = person("auditor").await;
    let size = head(&auditor, 1).await.head.size;
    let beyond = 9_999_999;
    for (query, pointer) in [
        ("inclusion?position=0".to_owned(), "position"),
        (format!("inclusion?position={beyond}"), "position"),
        ("inclusion?position=2&size=1".to_owned(), "position"),
        (format!("inclusion?position=1&size={beyond}"), "size"),
        ("inclusion?position=1&size=0".to_owned(), "size"),
        ("consistency?from=0".to_owned(), "from"),
        (format!("consistency?from={size}&to=1"), "from"),
        (format!("consistency?from=1&to={beyond}"), "to"),
    ] {
        let refused = auditor.get(&format!("/api/audit/proofs/{query}")).await;
        let refused = refused.expect_problem(422, "parameter.invalid");
        assert!(refused.body["errors"][0]["pointer"].as_str().unwrap().contains(pointer), "{query}: {refused:?}");
    }
    for malformed in ["inclusion", "inclusion?position=x", "consistency", "inclusion?position=1&x=1"] {
        let refused = auditor.get(&format!("/api/audit/proofs/{malformed}")).await;
        assert!([400, 422].contains(&refused.status), "{malformed}: {refused:?}");
    }
}
