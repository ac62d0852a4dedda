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
