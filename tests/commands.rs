//! Executing commands: decided again on conflict, never answered from a stale state, once per key.

use std::collections::HashSet;

use commands::{CommandError, Context, Outcome};
use domain::dossier::{Dossier, DossierCommand, DossierError};
use domain::{Denial, Role};
use uuid::Uuid;

use crate::support::{Node, actor, context, context_with_key, create, database_url, edit_title, execute, whole_log};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_is_decided_again_on_two_processes() {
    let url = database_url().await;
    let nodes = [Node::start(&url).await, Node::start(&url).await];
    let owner = nodes[0].applicant().await;
    let dossier = nodes[0].create_dossier(&owner).await;
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move { node.retitle(dossier.id, &owner, &format!("Title {number}")).await.version })
        })
        .collect();
    let mut versions = HashSet::new();
    for task in tasks {
        versions.insert(task.await.unwrap());
    }
    assert_eq!(versions, (2..=61).collect());
    let titles: HashSet<String> =
        whole_log(&nodes[0].store).await.iter().skip(1).map(|event| event.payload.get().to_owned()).collect();
    assert_eq!(titles.len(), 60, "every edit was decided on the state before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_effect_when_twenty_identical_requests_arrive_at_once_on_two_processes() {
    let url = database_url().await;
    let nodes = [Node::start(&url).await, Node::start(&url).await];
    let owner = nodes[0].applicant().await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let context = context_with_key(&owner, "once");
                node.commands.execute::<Dossier>(Uuid::now_v7(), create(&owner), context).await.unwrap()
            })
        })
        .collect();
    let (mut answers, mut appended) = (HashSet::new(), 0);
    for task in tasks {
        let done = task.await.unwrap();
        answers.insert((done.id, done.version, done.position));
        appended += u32::from(done.outcome == Outcome::Appended);
    }
    assert_eq!((answers.len(), appended), (1, 1));
    assert_eq!(whole_log(&nodes[0].store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_answered_as_before_after_the_state_moved_on() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    let submit = DossierCommand::Submit { note: None, at: chrono::Utc::now() };
    let once = || context_with_key(&owner, "submit");
    let first = node.commands.execute::<Dossier>(dossier.id, submit.clone(), once()).await.unwrap();
    // Decided now it would be refused; and a process that never saw it must answer the same.
    for node in [node, Node::start(&url).await] {
        let again = node.commands.execute::<Dossier>(dossier.id, submit.clone(), once()).await.unwrap();
        assert_eq!((again.version, again.position), (first.version, first.position));
        assert_eq!(again.outcome, Outcome::Replayed(201));
        let mut other = once();
        other.idempotency.as_mut().unwrap().digest = b"another request".to_vec();
        let reused = node.commands.execute::<Dossier>(dossier.id, submit.clone(), other).await;
        assert!(matches!(reused, Err(CommandError::KeyReused)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_op_is_remembered_under_its_key() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    let same = edit_title("A request");
    let once = || context_with_key(&owner, "nothing");
    let first = node.commands.execute::<Dossier>(dossier.id, same.clone(), once()).await.unwrap();
    assert_eq!((first.outcome, first.version, first.position), (Outcome::Unchanged, 1, dossier.position));
    node.retitle(dossier.id, &owner, "Moved on").await;
    let again = node.commands.execute::<Dossier>(dossier.id, same, once()).await.unwrap();
    assert_eq!((again.outcome, again.version), (Outcome::Replayed(201), 1));
    assert_eq!(whole_log(&node.store).await.len(), 2, "the repeated edit did not undo the later one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_never_answered_from_a_stale_state() {
    let url = database_url().await;
    let (stale, ahead) = (Node::start(&url).await, Node::start(&url).await);
    let owner = stale.applicant().await;
    let pro = stale.person(&[Role::Applicant, Role::Pro]).await;
    let dossier = stale.create_dossier(&owner).await;
    let submit = DossierCommand::Submit { note: None, at: chrono::Utc::now() };
    ahead.commands.execute::<Dossier>(dossier.id, submit, context(&owner)).await.unwrap();
    // In the stale process's memory it is a draft, which a pro may not even see.
    let review = DossierCommand::StartReview { by: pro.id, at: chrono::Utc::now() };
    let done = stale.commands.execute::<Dossier>(dossier.id, review, context(&pro)).await.unwrap();
    assert_eq!(done.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_op_is_never_answered_from_a_stale_state() {
    let url = database_url().await;
    let (stale, ahead) = (Node::start(&url).await, Node::start(&url).await);
    let owner = stale.applicant().await;
    let dossier = stale.create_dossier(&owner).await;
    ahead.retitle(dossier.id, &owner, "Another").await;
    let done = stale.retitle(dossier.id, &owner, "A request").await;
    assert_eq!((done.outcome, done.version), (Outcome::Appended, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_stale_if_match_nothing_is_decided() {
    let url = database_url().await;
    let (node, other) = (Node::start(&url).await, Node::start(&url).await);
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    other.retitle(dossier.id, &owner, "Another").await;
    let on_first = || Context { if_match: Some(1), ..context(&owner) };
    let stale = node.commands.execute::<Dossier>(dossier.id, edit_title("Mine"), on_first()).await;
    assert!(matches!(stale, Err(CommandError::VersionMismatch { current: 2 })));
    let on_second = Context { if_match: Some(2), ..context(&owner) };
    let done = node.commands.execute::<Dossier>(dossier.id, edit_title("Mine"), on_second).await.unwrap();
    assert_eq!(done.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_with_one_if_match_exactly_one_wins() {
    let url = database_url().await;
    let nodes = [Node::start(&url).await, Node::start(&url).await];
    let owner = nodes[0].applicant().await;
    let dossier = nodes[0].create_dossier(&owner).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let context = Context { if_match: Some(1), ..context(&owner) };
                let command = edit_title(&format!("Title {number}"));
                node.commands.execute::<Dossier>(dossier.id, command, context).await
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => winners += 1,
            Err(error) => assert!(matches!(error, CommandError::VersionMismatch { .. }), "{error}"),
        }
    }
    assert_eq!(winners, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_a_dossier_is_not_told_that_it_exists() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let stranger = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    for id in [dossier.id, Uuid::now_v7()] {
        let denied = node.commands.execute::<Dossier>(id, edit_title("Mine"), context(&stranger)).await;
        assert!(matches!(denied, Err(CommandError::Denied(Denial::Hidden))));
    }
    let accept = DossierCommand::Accept { motivation: None, by: owner.id, at: chrono::Utc::now() };
    let denied = node.commands.execute::<Dossier>(dossier.id, accept, context(&owner)).await;
    assert!(matches!(denied, Err(CommandError::Denied(Denial::Forbidden))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transition_is_refused_and_names_what_is_allowed() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    let submit = || DossierCommand::Submit { note: None, at: chrono::Utc::now() };
    node.commands.execute::<Dossier>(dossier.id, submit(), context(&owner)).await.unwrap();
    let again = node.commands.execute::<Dossier>(dossier.id, submit(), context(&owner)).await;
    assert!(matches!(again, Err(CommandError::Rejected(DossierError::InvalidTransition { .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_for_a_person_who_was_erased() {
    let url = database_url().await;
    let (node, other) = (Node::start(&url).await, Node::start(&url).await);
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    execute(&url, "update person_keys set wrapped_key = null, erased_at = now()").await;
    let erased = |node: Node| async move {
        let command = DossierCommand::Edit {
            title: None,
            category: None,
            description: Some(Some("Mine".to_owned())),
            fields: None,
            at: chrono::Utc::now(),
        };
        node.commands.execute::<Dossier>(dossier.id, command, context(&owner)).await
    };
    // The first still holds the key in memory, the second never had it: neither may write.
    assert!(matches!(erased(node.clone()).await, Err(CommandError::PersonErased)));
    assert!(erased(other).await.is_err());
    assert_eq!(whole_log(&node.store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_cancels_nothing() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    for number in 0..100_u64 {
        let command = edit_title(&format!("Title {number}"));
        let execution = node.commands.execute::<Dossier>(dossier.id, command, context(&owner));
        let impatient = tokio::time::timeout(std::time::Duration::from_micros(number * 20), execution);
        let _ = impatient.await;
    }
    let done = node.retitle(dossier.id, &owner, "The last").await;
    assert_eq!(whole_log(&node.store).await.len() as u64, done.version);
    let (_, version) = node.commands.state::<Dossier>(dossier.id).await.unwrap();
    assert_eq!(version, done.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_says_who_why_and_where() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let mut context = context(&owner);
    context.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    context.client =
        Some(domain::metadata::Client { address: "192.0.2.7".to_owned(), user_agent: Some("curl".to_owned()) });
    node.commands.execute::<Dossier>(Uuid::now_v7(), create(&owner), context.clone()).await.unwrap();
    let log = whole_log(&node.store).await;
    let metadata = log[0].metadata().unwrap();
    assert_eq!(metadata.actor_id, owner.id);
    assert_eq!(metadata.actor_role, Role::Applicant);
    assert_eq!(metadata.request_id, context.request_id);
    assert_eq!(metadata.traceparent, context.traceparent);
    assert_eq!(metadata.command, "CreateDossier");
    assert_eq!(metadata.partition_key, log[0].aggregate_id);
    assert!(!log[0].metadata.get().contains("192.0.2.7"), "the client's address is in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_every_other_role_cannot_edit_a_foreign_dossier() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    let stranger = node.applicant().await;
    for role in Role::ALL {
        let somebody = actor(stranger.id, &[Role::Applicant, role]);
        let denied = node.commands.execute::<Dossier>(dossier.id, edit_title("Mine"), context(&somebody)).await;
        assert!(matches!(denied, Err(CommandError::Denied(_))), "{role:?}");
    }
}
