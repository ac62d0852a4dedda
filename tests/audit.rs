//! Evidence: whoever rewrites history is found out, by what is kept in the database and by heads that are kept elsewhere.

use base64::Engine;
use event_store::StoreError;
use event_store::audit::{
    Change, Contradiction, Sealer, SignedHead, Verified, introduction, root_above, verify_consistency, verify_inclusion,
};
use futures::future::join_all;

use crate::support::data_directory::run;
use crate::support::process::Process;
use crate::support::{Node, database_url, execute};

const EVENTS: u64 = 300;

/// A log of which every event is sealed.
struct Sealed {
    url: String,
    node: Node,
    head: SignedHead,
}

impl Sealed {
    async fn new() -> Self {
        let url = database_url().await;
        let node = Node::start(&url).await;
        join_all((0..10).map(|_| node.write(EVENTS as usize / 20))).await;
        let head = seal(&node).await;
        assert_eq!(head.head.size, EVENTS);
        Self { url, node, head }
    }

    /// Changes the log as somebody who may do anything in the database.
    async fn tamper(&self, statements: &str) {
        let all = format!(
            "alter table events disable trigger all; alter table audit_heads disable trigger all;
             alter table events drop constraint events_position_key, drop constraint events_pkey;
             {statements}"
        );
        execute(&self.url, &all).await;
    }

    async fn verify(&self) -> Verified {
        self.verify_with(&[]).await
    }

    async fn verify_with(&self, kept: &[SignedHead]) -> Verified {
        self.node.store.verify_log(kept, &[], |_, _| {}).await.unwrap()
    }

    /// Where what was changed is told to be.
    async fn changed(&self) -> Vec<(&'static str, u64)> {
        let verified = self.verify().await;
        assert!(!verified.is_intact());
        let kind = |change: &Change| match change {
            Change::Edited { position, .. } => ("edited", *position),
            Change::Removed { position } => ("removed", *position),
            Change::Inserted { position, .. } => ("inserted", *position),
            Change::Moved { from, .. } => ("moved", *from),
        };
        verified.changes.iter().map(kind).collect()
    }
}

async fn seal(node: &Node) -> SignedHead {
    Sealer::new(node.store.clone()).seal().await.unwrap();
    node.store.tree_head().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_log_is_intact_however_it_grew() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let mut sealer = Sealer::new(node.store.clone());
    sealer.seal().await.unwrap();
    assert_eq!(node.store.tree_head().await.unwrap(), None, "there is nothing to sign");
    let mut kept = Vec::new();
    for dossiers in [1, 3, 130, 1, 200] {
        node.write(dossiers).await;
        sealer.seal().await.unwrap();
        kept.push(node.store.tree_head().await.unwrap().unwrap());
    }
    let sizes: Vec<u64> = kept.iter().map(|head| head.head.size).collect();
    assert_eq!(sizes, [2, 8, 268, 270, 670]);
    // Another process comes to the same tree, from what is stored.
    node.write(1).await;
    assert_eq!(seal(&node).await.head.size, 672);
    node.write(1).await;
    let verified = node.store.verify_log(&kept, &[], |_, _| {}).await.unwrap();
    assert!(verified.is_intact(), "{verified:?}");
    assert_eq!((verified.events, verified.sealed, verified.heads), (674, 672, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_and_every_growth_is_proved() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let mut heads = Vec::new();
    for dossiers in [3, 130, 131] {
        node.write(dossiers).await;
        heads.push(seal(&node).await.head);
    }
    for head in &heads {
        for position in [1, 2, 5, 6, 255, 256, 257, 266, 512, 513, 528].into_iter().filter(|n| *n <= head.size) {
            let (leaf, path) = node.store.prove_inclusion(position, head.size).await.unwrap();
            assert!(verify_inclusion(leaf, position - 1, head.size, &path, head.root), "{position} in {}", head.size);
        }
        for older in heads.iter().filter(|older| older.size <= head.size) {
            let path = node.store.prove_consistency(older.size, head.size).await.unwrap();
            assert!(verify_consistency(older.size, head.size, older.root, head.root, &path));
        }
        for size in [1, 6, 255, 256, 257, 300, 528].into_iter().filter(|size| *size <= head.size) {
            let path = node.store.prove_consistency(size, head.size).await.unwrap();
            let (leaf, up) = node.store.prove_inclusion(1, size).await.unwrap();
            let root = root_above(leaf, 0, size, &up).unwrap();
            assert!(verify_consistency(size, head.size, root, head.root, &path), "{size} to {}", head.size);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edited_column_is_found_at_its_event() {
    let sealed = Sealed::new().await;
    let columns = [
        ("payload", "replace(payload::text, 'housing', 'parking')::json"),
        ("payload", "(payload::text || ' ')::json"),
        ("metadata", "replace(metadata::text, 'applicant', 'pro')::json"),
        ("recorded_at", "recorded_at + interval '1 microsecond'"),
        ("event_type", "'DossierAccepted'"),
        ("event_version", "'2'"),
        ("event_id", "gen_random_uuid()"),
        ("aggregate_id", "gen_random_uuid()::text"),
        ("aggregate_type", "'post'"),
        ("sequence", "sequence + 100"),
    ];
    let first: i64 = sealed.node.ask("select position from events where event_type = 'DossierCreated' limit 1").await;
    sealed.tamper("create table original as select * from events").await;
    for (column, value) in columns {
        let edit = format!("update events set {column} = {value} where position = {first}");
        execute(&sealed.url, &edit).await;
        assert_eq!(sealed.changed().await, [("edited", first.cast_unsigned())], "{column}");
        let restore = format!(
            "delete from events where position = {first};
             insert into events select * from original where position = {first}"
        );
        execute(&sealed.url, &restore).await;
        assert!(sealed.verify().await.is_intact());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_inserted_or_moved_is_found_where_it_was() {
    let insert = |position: u64| {
        format!(
            "insert into events
             select aggregate_type, gen_random_uuid()::text, 1, event_type, event_version, payload, metadata,
                    {position}, gen_random_uuid(), recorded_at from events where position = 1;"
        )
    };
    let cases = [
        ("delete from events where position = 100".to_owned(), vec![("removed", 100)]),
        (
            "delete from events where position = 100; update events set position = position - 1 where position > 100"
                .to_owned(),
            vec![("removed", 100)],
        ),
        (
            format!("update events set position = position + 1 where position >= 100; {}", insert(100)),
            vec![("inserted", 100)],
        ),
        (
            "update events set position = 321 - position where position in (101, 220)".to_owned(),
            vec![("moved", 101), ("moved", 220)],
        ),
        ("delete from events where position > 298".to_owned(), vec![("removed", 299), ("removed", 300)]),
    ];
    for (statements, expected) in cases {
        let sealed = Sealed::new().await;
        sealed.tamper(&statements).await;
        assert_eq!(sealed.changed().await, expected, "{statements}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_hides_nothing_at_its_seams() {
    let sealed = Sealed::new().await;
    let grow = "insert into events
        select aggregate_type, gen_random_uuid()::text, 1, event_type, event_version, payload, metadata,
               300 + n, gen_random_uuid(), recorded_at
        from (select * from events where position = 1) one, generate_series(1, 17000) n";
    execute(&sealed.url, grow).await;
    assert_eq!(seal(&sealed.node).await.head.size, 17_300);
    sealed.tamper("create table removed as select * from events limit 0").await;
    assert!(sealed.verify().await.is_intact());
    for position in [1, 257, 8192, 8193, 16_384, 17_300] {
        let remove = format!(
            "with gone as (delete from events where position = {position} returning *)
                 insert into removed select * from gone;
             update events set position = position - 1 where position > {position}"
        );
        execute(&sealed.url, &remove).await;
        assert_eq!(sealed.changed().await, [("removed", position)]);
        let restore = format!(
            "update events set position = position + 1 where position >= {position};
             with back as (delete from removed returning *) insert into events select * from back"
        );
        execute(&sealed.url, &restore).await;
        let insert = format!(
            "update events set position = position + 1 where position >= {position};
             insert into events
             select aggregate_type, 'new', 1, event_type, event_version, payload, metadata, {position},
                    gen_random_uuid(), recorded_at from events where position = 300"
        );
        execute(&sealed.url, &insert).await;
        assert_eq!(sealed.changed().await, [("inserted", position)]);
        let restore = format!(
            "delete from events where position = {position};
             update events set position = position - 1 where position > {position}"
        );
        execute(&sealed.url, &restore).await;
    }
    assert!(sealed.verify().await.is_intact());
    // Everything from somewhere on: told in part, and how much more.
    execute(&sealed.url, "update events set event_type = 'X' where position > 9000").await;
    let found = sealed.verify().await;
    assert_eq!(found.changes.first().map(Change::position), Some(9001));
    assert_eq!(found.changes.len() as u64 + found.more, 8_300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_found_also_where_no_head_covers_it_yet() {
    let sealed = Sealed::new().await;
    let grow = "insert into events
        select aggregate_type, gen_random_uuid()::text, 1, event_type, event_version, payload, metadata,
               300 + n, gen_random_uuid(), recorded_at
        from (select * from events where position = 1) one, generate_series(1, 17000) n";
    execute(&sealed.url, grow).await;
    sealed.tamper("alter table events drop constraint events_position_check").await;
    assert_eq!(sealed.verify().await.missing, None);
    for position in [301, 302, 8192, 8193, 16_384, 17_299] {
        execute(&sealed.url, &format!("update events set position = -1 where position = {position}")).await;
        let found = sealed.verify().await;
        assert_eq!((found.missing, found.is_intact()), (Some(position), false));
        execute(&sealed.url, &format!("update events set position = {position} where position = -1")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_off_or_rewritten_with_its_evidence_is_found_by_a_head_that_was_kept() {
    let cut_off = "delete from events where position > 200; delete from audit_heads; delete from audit_tiles;";
    let rewritten = "update events set event_type = 'DossierAccepted' where position = 7;";
    let forget = "delete from audit_heads; delete from audit_tiles; delete from audit_keys;";

    let sealed = Sealed::new().await;
    sealed.tamper(cut_off).await;
    let found = sealed.verify_with(std::slice::from_ref(&sealed.head)).await;
    assert_eq!(found.contradictions, [Contradiction::Truncated { size: 300, log: 200 }]);

    // Sealed anew, as if nothing had been.
    let sealed = Sealed::new().await;
    let key = sealed.node.store.tree_keys().await.unwrap().remove(0).key;
    sealed.tamper(&format!("{rewritten} {forget}")).await;
    seal(&sealed.node).await;
    assert!(sealed.verify().await.is_intact(), "the database alone knows nothing of it any more");
    let kept = [sealed.head.clone()];
    let found = sealed.node.store.verify_log(&kept, &[key], |_, _| {}).await.unwrap();
    assert_eq!(found.contradictions, [Contradiction::Rewritten { size: 300, agreed: 0 }]);
    // Without the key of then, the head is doubted, and it shows all the same.
    assert_eq!(sealed.verify_with(&kept).await.contradictions, [Contradiction::Unsigned { size: 300 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_was_changed_is_found() {
    // The tree was changed with the log: the head was signed over another.
    let sealed = Sealed::new().await;
    let (node, url) = (&sealed.node, &sealed.url);
    node.write(5).await;
    seal(node).await;
    sealed.tamper("update events set event_type = 'X' where position = 305").await;
    let flip = "update audit_tiles set hashes = set_byte(hashes, 32 * 48, get_byte(hashes, 32 * 48) # 1)
                where level = 0 and index = 1";
    execute(url, flip).await;
    let found = sealed.verify().await;
    assert!(found.tree_changed && found.changes.is_empty(), "{found:?}");
    assert_eq!(found.contradictions, [Contradiction::Rewritten { size: 310, agreed: 300 }]);
    // The tree alone was: the log is as it was signed.
    let sealed = Sealed::new().await;
    execute(&sealed.url, "update audit_tiles set hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)").await;
    let found = sealed.verify().await;
    assert!(found.tree_changed && found.contradictions.is_empty(), "{found:?}");
    // A head that somebody without the key wrote.
    let sealed = Sealed::new().await;
    sealed.tamper("update audit_heads set root = set_byte(root, 0, get_byte(root, 0) # 1)").await;
    assert_eq!(sealed.verify().await.contradictions, [Contradiction::Unsigned { size: 300 }]);
    // One of another log.
    let (one, another) = (Sealed::new().await, Sealed::new().await);
    let found = one.verify_with(std::slice::from_ref(&another.head)).await;
    assert_eq!(found.contradictions, [Contradiction::Foreign { origin: another.head.head.origin.clone() }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sealed_on_top_of_what_was_tampered_with() {
    let cases = [
        "delete from events where position > 290",
        "update audit_tiles set hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1) where index = 1 and level = 0",
        "update audit_tiles set hashes = substr(hashes, 33) where index = 1 and level = 0",
        "delete from audit_tiles where index = 1 and level = 0",
        "update audit_heads set signature = set_byte(signature, 0, get_byte(signature, 0) # 1)",
        "delete from audit_heads",
    ];
    for statements in cases {
        let sealed = Sealed::new().await;
        sealed.tamper(statements).await;
        sealed.node.write(1).await;
        let refused = Sealer::new(sealed.node.store.clone()).seal().await;
        assert!(matches!(refused, Err(StoreError::Broken(_))), "{statements}: {refused:?}");
        let head: i64 = sealed.node.ask("select coalesce(max(size), 0) from audit_heads").await;
        assert!(head <= 300, "{statements}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sealers_and_one_that_is_cut_off_leave_one_whole_tree() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let other = Node::start(&url).await;
    let mut sealers = [Sealer::new(node.store.clone()), Sealer::new(other.store.clone())];
    for round in 0..20 {
        node.write(3).await;
        let [one, another] = &mut sealers;
        let (one, another) = tokio::join!(one.seal(), another.seal());
        one.unwrap();
        another.unwrap();
        // Abandoned at any point, it leaves nothing half done.
        let mut hurried = Sealer::new(other.store.clone());
        let patience = std::time::Duration::from_micros(200 * round);
        tokio::time::timeout(patience, hurried.seal()).await.ok();
    }
    let head = seal(&node).await;
    assert_eq!(head.head.size, 120);
    assert!(node.store.verify_log(&[head], &[], |_, _| {}).await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_introduced_by_the_one_before_it_and_old_heads_stay_good() {
    let sealed = Sealed::new().await;
    let store = &sealed.node.store;
    let old = sealed.head.clone();
    let rotated = store.rotate_tree_key().await.unwrap();
    sealed.node.write(1).await;
    let new = seal(&sealed.node).await;
    assert!(new.is_signed_by(&rotated) && !old.is_signed_by(&rotated));
    let keys = store.tree_keys().await.unwrap();
    assert_eq!((keys.len(), &keys[1].key), (2, &rotated));
    assert!(old.is_signed_by(&keys[0].key) && keys[0].introduced_by.is_none());
    let (by, signature) = keys[1].introduced_by.unwrap();
    assert_eq!(by, keys[0].key.id());
    assert!(keys[0].key.verifies(&introduction(&rotated), &signature));
    assert!(sealed.verify_with(&[old, new]).await.is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_heads_that_are_old_one_an_hour_is_kept() {
    let sealed = Sealed::new().await;
    for _ in 0..6 {
        sealed.node.write(1).await;
        seal(&sealed.node).await;
    }
    let older = "update audit_heads set signed_at = date_trunc('hour', now())
        - case when size <= 302 then interval '10 days' when size <= 308 then interval '9 days' else '0' end
        + size * interval '1 second'";
    sealed.tamper(older).await;
    sealed.node.store.sweep().await.unwrap();
    let kept: Vec<i64> = sealed.node.ask("select array_agg(size order by size) from audit_heads").await;
    assert_eq!(kept, [302, 308, 310, 312]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_events_and_signed_heads_are_never_changed_even_where_triggers_are_switched_off() {
    let sealed = Sealed::new().await;
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&sealed.url).await.unwrap();
    sqlx::raw_sql("set session_replication_role = replica").execute(&mut connection).await.unwrap();
    let refused = [
        "update events set event_type = 'X' where position = 1",
        "delete from events where position = 1",
        "truncate events",
        "update audit_heads set size = size + 1",
        "truncate audit_heads",
    ];
    for statement in refused {
        let error = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("never changed"), "{statement}: {error}");
    }
    assert!(sealed.verify().await.is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_was_done_to_the_log_and_fails() {
    let sealed = Sealed::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let audit = |arguments: &[&str]| {
        let mut command = Process::command(&[&["audit"], arguments].concat());
        command.env("DATABASE_URL", &sealed.url).env("NATS_URL", "nats://127.0.0.1:9");
        command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32));
        run(command)
    };
    let (_, note) = audit(&["head"]).await;
    assert_eq!(note.trim(), sealed.head.note().trim());
    std::fs::write(file("head"), &note).unwrap();
    let (_, key) = audit(&["keys"]).await;
    let intact = "300 events, of which 300 are sealed; 2 heads\nEverything is as it was recorded.\n";
    let verified = audit(&["verify", "--head", &file("head"), "--key", key.trim()]).await;
    assert_eq!(verified, (Some(0), intact.to_owned()));
    // As `GET /api/audit/head` answers by default.
    let SignedHead { head: signed, key_id, signature } = &sealed.head;
    let head = serde_json::json!({
        "size": signed.size, "rootHash": signed.root.to_string(), "at": signed.time(), "keyId": key_id.to_string(),
        "signature": base64::engine::general_purpose::STANDARD.encode(signature), "origin": signed.origin,
    });
    let head = head.to_string();
    std::fs::write(file("head.json"), &head).unwrap();
    assert_eq!(audit(&["verify", "--head", &file("head.json")]).await, (Some(0), intact.to_owned()));
    std::fs::write(file("forged.json"), head.replace("\"size\":300", "\"size\":299")).unwrap();
    let (code, found) = audit(&["verify", "--head", &file("forged.json")]).await;
    assert_eq!(code, Some(1));
    assert!(found.contains("the head of 299 events was not signed by a key of this log"), "{found}");

    sealed.tamper("update events set event_type = 'DossierAccepted' where position = 7").await;
    let (code, found) = audit(&["verify"]).await;
    assert_eq!(code, Some(1));
    assert!(found.contains("\n7: edited (DossierAccepted, version "), "{found}");
    assert!(found.contains("\nhistory was rewritten between 1 and 300"), "{found}");
    assert!(found.contains("the log is not as it was recorded"), "{found}");

    std::fs::write(file("nonsense"), "nonsense").unwrap();
    std::fs::write(file("nonsense.json"), "{}").unwrap();
    for head in ["nonsense", "nonsense.json", "missing"] {
        let (code, refused) = audit(&["verify", "--head", &file(head)]).await;
        assert_eq!(code, Some(2));
        assert!(refused.contains(&format!("{head} holds no signed tree head")), "{refused}");
    }
    assert_ne!(audit(&["verify", "--key", "nonsense"]).await.0, Some(0));
}
