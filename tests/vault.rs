//! What is personal is sealed on every disk, and bound to its person, its stream and its place.

use std::collections::BTreeMap;

use domain::dossier::{Dossier, DossierCommand};
use event_store::{Database, EventStore, MasterKey, StreamId};
use sqlx::Row;
use uuid::Uuid;

use crate::support::{Node, context, create, database_url, execute, whole_log};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_is_in_clear_in_the_log() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let command = DossierCommand::Create {
        owner: owner.id,
        organization: owner.organization,
        category: "housing".to_owned(),
        title: "A request".to_owned(),
        description: Some("Quetzalcoatl lives here".to_owned()),
        fields: BTreeMap::from([(
            "street".to_owned(),
            serde_json::from_value(serde_json::json!("Quetzalcoatl Street")).unwrap(),
        )]),
        at: chrono::Utc::now(),
    };
    let done = node.commands.execute::<Dossier>(Uuid::now_v7(), command, context(&owner)).await.unwrap();
    let rows = sqlx::query("select payload::text || metadata::text from events").fetch_all(&node.database.reads).await;
    for row in rows.unwrap() {
        assert!(!row.get::<String, _>(0).contains("Quetzalcoatl"));
    }
    // And it is there for those who hold the key.
    let (state, _) = Node::start(&url).await.commands.state::<Dossier>(done.id).await.unwrap();
    let description = state.content().unwrap().description.as_ref().unwrap().get().unwrap().clone();
    assert_eq!(description, "Quetzalcoatl lives here");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_is_refused_at_the_start() {
    let url = database_url().await;
    Node::start(&url).await;
    let database = Database::connect(&url, 2).await.unwrap();
    assert!(EventStore::open(&database, MasterKey::new(&[1; 32])).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_master_key_replaces_another_while_the_system_runs_and_no_event_changes() {
    let (old, new) = ([42; 32], [43; 32]);
    let url = database_url().await;
    let before = Node::start(&url).await;
    let owner = before.applicant().await;
    let done = before.create_dossier(&owner).await;
    let erased = before.applicant().await;
    execute(
        &url,
        &format!("update person_keys set wrapped_key = null, erased_at = now() where person_id = '{}'", erased.id),
    )
    .await;
    let log = whole_log(&before.store).await;
    // Processes with the new key and the old one side by side, in both orders, as in a rolling restart.
    let first = Node::open(&url, MasterKey::new(&old).accepting(&new)).await;
    let second = Node::open(&url, MasterKey::new(&new).accepting(&old)).await;
    let newcomer = second.applicant().await;
    let theirs = first.create_dossier(&newcomer).await;
    assert!(EventStore::open(&second.database, MasterKey::new(&new)).await.is_err());
    let secret = second.store.vault().keyed_hash("any", b"thing");
    // The secret, and the owner's key; the newcomer's is the new one's already.
    assert_eq!(second.store.vault().rewrap(|_, _| {}).await.unwrap(), 2);
    assert_eq!(second.store.vault().rewrap(|_, _| {}).await.unwrap(), 0);
    let after = Node::open(&url, MasterKey::new(&new)).await;
    assert_eq!(after.store.vault().keyed_hash("any", b"thing"), secret);
    for id in [done.id, theirs.id] {
        let (state, _) = after.commands.state::<Dossier>(id).await.unwrap();
        assert!(state.content().unwrap().description.as_ref().unwrap().get().is_some());
    }
    first.create_dossier(&owner).await;
    assert!(EventStore::open(&after.database, MasterKey::new(&old)).await.is_err());
    let kept = whole_log(&after.store).await;
    for (was, is) in log.iter().zip(&kept) {
        assert_eq!(was.payload.get(), is.payload.get());
    }
    let tombstones: i64 = after.ask("select count(*) from person_keys where wrapped_key is null").await;
    assert_eq!(tombstones, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_value_does_not_open_in_another_stream_or_place() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let (here, there) = (node.create_dossier(&owner).await, node.create_dossier(&owner).await);
    let log = whole_log(&node.store).await;
    let payload: serde_json::Value = serde_json::from_str(log[0].payload.get()).unwrap();
    let vault = node.store.vault();
    let stream = |id| StreamId { aggregate_type: "dossier", id };
    vault.open_payload(stream(here.id), &payload.to_string()).await.unwrap();
    assert!(vault.open_payload(stream(there.id), &payload.to_string()).await.is_err());
    let mut moved = payload.clone();
    let description = moved["Created"]["description"].take();
    moved["Created"]["fields"]["elsewhere"] = description;
    assert!(vault.open_payload(stream(here.id), &moved.to_string()).await.is_err());
    let mut given_away = payload;
    given_away["Created"]["description"]["of"] = serde_json::json!(node.applicant().await.id);
    assert!(vault.open_payload(stream(here.id), &given_away.to_string()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belonged_to_an_erased_person_replays_as_nothing() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.commands.execute::<Dossier>(Uuid::now_v7(), create(&owner), context(&owner)).await.unwrap();
    execute(&url, "update person_keys set wrapped_key = null, erased_at = now()").await;
    let (state, version) = Node::start(&url).await.commands.state::<Dossier>(dossier.id).await.unwrap();
    assert_eq!(version, 1);
    assert_eq!(state.content().unwrap().description.as_ref().unwrap().get(), None);
    assert_eq!(state.content().unwrap().title, "A request");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_keeps_in_memory_what_belonged_to_an_erased_person() {
    let url = database_url().await;
    let (one, other) = (Node::start(&url).await, Node::start(&url).await);
    let (ada, eve) = (one.applicant().await, one.applicant().await);
    let (hers, eves) = (one.create_dossier(&ada).await.id, one.create_dossier(&eve).await.id);
    let description = async |node: &Node, id| {
        let (state, version) = node.commands.state::<Dossier>(id).await.unwrap();
        assert!(version > 0);
        state.content().unwrap().description.as_ref().unwrap().get().cloned()
    };
    for node in [&one, &other] {
        assert!(description(node, hers).await.is_some() && description(node, eves).await.is_some());
    }
    one.store.vault().erase(ada.id).await.unwrap();
    assert_eq!(description(&one, hers).await, None, "at once where it was done");
    crate::support::eventually("the other process knows", async || description(&other, hers).await.is_none()).await;
    assert!(description(&one, eves).await.is_some() && description(&other, eves).await.is_some());
    // What goes on is decided on what is left.
    one.retitle(hers, &ada, "Another title").await;
    other.retitle(hers, &ada, "And another").await;
    assert_eq!(one.commands.state::<Dossier>(hers).await.unwrap().1, 3);
}
