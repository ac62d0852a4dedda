//! Connections lost in mid-commit: no acknowledged command is lost, none is applied twice.

use crate::support::proxy::{Cut, Proxy};
use crate::support::{Node, context_with_key, create, database_url, whole_log};
use commands::CommandError;
use domain::dossier::Dossier;
use event_store::StoreError;
use uuid::Uuid;

async fn lose(what: Cut) {
    let url = database_url().await;
    let (proxy, through) = Proxy::start(&url).await;
    let (node, witness) = (Node::start(&through).await, Node::start(&url).await);
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    for round in 0..5 {
        proxy.cut(what, 1);
        let done = node.retitle(dossier.id, &owner, &format!("Round {round}")).await;
        assert_eq!(done.version, 2 + round);
    }
    assert_eq!(proxy.cuts_made(), 5, "nothing was cut, so nothing was proved");
    assert_eq!(whole_log(&witness.store).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_is_lost_is_applied_once() {
    lose(Cut::Answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_request_is_lost_is_applied_once() {
    lose(Cut::Request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_batch_in_flight_is_settled_command_by_command() {
    let url = database_url().await;
    let (proxy, through) = Proxy::start(&url).await;
    let (node, witness) = (Node::start(&through).await, Node::start(&url).await);
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    proxy.cut(Cut::Answer, 4);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { node.create_dossier(&owner).await })
        })
        .collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(task.await.unwrap().position);
    }
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), 100);
    assert!(proxy.cuts_made() > 0);
    assert_eq!(whole_log(&witness.store).await.len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_timed_out_is_settled_later_by_its_key() {
    let url = database_url().await;
    let (proxy, through) = Proxy::start(&url).await;
    let node = Node::start(&through).await;
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    let id = Uuid::now_v7();
    let mut context = context_with_key(&owner, "settle-me");
    context.deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(300);
    proxy.cut(Cut::Answer, 1);
    proxy.refuse(true);
    let lost = node.commands.execute::<Dossier>(id, create(&owner), context).await;
    assert!(lost.is_err(), "answered although its commit could not be known");
    proxy.refuse(false);
    let again = context_with_key(&owner, "settle-me");
    let settled = node.commands.execute::<Dossier>(Uuid::now_v7(), create(&owner), again).await.unwrap();
    assert_eq!(settled.id, id, "the first attempt was applied and is what the key answers with");
    assert_eq!(whole_log(&node.store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_time_was_over_before_it_began_is_known_not_to_be_applied() {
    let node = Node::start(&database_url().await).await;
    let owner = node.applicant().await;
    let mut context = context_with_key(&owner, "too-late");
    context.deadline = tokio::time::Instant::now();
    let late = node.commands.execute::<Dossier>(Uuid::now_v7(), create(&owner), context).await;
    assert!(matches!(late, Err(CommandError::Store(StoreError::Unavailable(_)))), "{late:?}");
    assert!(whole_log(&node.store).await.is_empty());
}
