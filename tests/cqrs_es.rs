//! The parts of cqrs-es and postgres-es that are used keep their promises here; their traps stay out of reach.

use std::sync::Arc;

use commands::event_sourced::{EventRepository, EventSourced};
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use cqrs_es::test::TestFramework;
use cqrs_es::{AggregateError, CqrsFramework};
use domain::dossier::{Dossier, DossierCommand};
use uuid::Uuid;

use crate::support::{Node, create, database_url, edit_title, whole_log};

type Repository = EventRepository;

async fn repository(url: &str) -> (Node, Repository) {
    let node = Node::start(url).await;
    let repository = EventRepository::new(node.database.reads.clone(), node.store.clone());
    (node, repository)
}

#[tokio::test(flavor = "multi_thread")]
async fn their_framework_runs_on_our_log() {
    let url = database_url().await;
    let (node, repository) = repository(&url).await;
    let owner = node.applicant().await;
    let cqrs: CqrsFramework<EventSourced<Dossier>, _> =
        CqrsFramework::new(PersistedEventStore::new_event_store(repository), vec![], ());
    let id = Uuid::now_v7();
    cqrs.execute(&id.to_string(), create(&owner)).await.unwrap();
    for number in 0..15 {
        cqrs.execute(&id.to_string(), edit_title(&format!("Title {number}"))).await.unwrap();
    }
    let log = whole_log(&node.store).await;
    assert_eq!(log.iter().map(|event| event.version).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_is_their_conflict() {
    let url = database_url().await;
    let (node, repository) = repository(&url).await;
    let owner = node.applicant().await;
    let cqrs: Arc<CqrsFramework<EventSourced<Dossier>, _>> =
        Arc::new(CqrsFramework::new(PersistedEventStore::new_event_store(repository), vec![], ()));
    let id = Uuid::now_v7();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let cqrs = cqrs.clone();
            tokio::spawn(async move { cqrs.execute(&id.to_string(), create(&owner)).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => created += 1,
            Err(AggregateError::AggregateConflict | AggregateError::UserError(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_replay_streams_of_theirs_are_refused() {
    let url = database_url().await;
    let (node, repository) = repository(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    let id = dossier.id.to_string();
    assert!(repository.get_snapshot::<EventSourced<Dossier>>(&id).await.unwrap().is_none());
    let events = repository.get_events::<EventSourced<Dossier>>(&id).await.unwrap();
    let snapshot = Some((id.clone(), serde_json::json!({}), 1));
    assert!(repository.persist::<EventSourced<Dossier>>(&events, snapshot).await.is_err());
    assert!(repository.stream_events::<EventSourced<Dossier>>(&id).await.is_err());
    assert!(repository.stream_all_events::<EventSourced<Dossier>>().await.is_err());
}

#[test]
fn their_given_when_then_kit_tests_our_aggregates() {
    let owner = crate::support::actor(Uuid::now_v7(), &[domain::Role::Applicant]);
    TestFramework::<EventSourced<Dossier>>::with(())
        .given_no_previous_events()
        .when(DossierCommand::Submit { note: None, at: chrono::Utc::now() })
        .then_expect_error(domain::dossier::DossierError::NotFound);
    let created = TestFramework::<EventSourced<Dossier>>::with(())
        .given_no_previous_events()
        .when(create(&owner))
        .inspect_result()
        .unwrap();
    assert_eq!(created.len(), 1);
}
