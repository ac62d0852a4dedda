//! Verifying read models: what drifted from the log is found and named, and nobody notices that it is looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use projections::{DriftKind, NAMES, RebuildError, Verified, rebuild, verify};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::data_directory::run;
use crate::support::models::caught_up;
use crate::support::people::People;
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute, servers};

async fn verified(node: &Node, name: &str) -> Verified {
    verify(name, &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await.unwrap()
}

/// The schemas that are there but for a moment.
async fn left_behind(node: &Node) -> i64 {
    node.ask("select count(*) from pg_namespace where nspname like '%verified' or nspname like '%next'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_are_what_the_log_says_also_while_people_work() {
    let url = database_url().await;
    let process = Process::api(&url, &[]).await;
    let people = People::begin(&[process.url()], 6).await;
    people.work_on(200).await;
    let node = Node::start(&url).await;
    let mut rows = 0;
    for name in NAMES {
        people.work_on(30).await;
        let found = verified(&node, name).await;
        assert_eq!((found.drifted, &found.drifts), (0, &Vec::new()), "{name}");
        rows += found.rows;
    }
    assert!(rows > 100, "{rows}");
    let done = people.finish().await;
    assert_eq!(done.unread, 0);
    assert_eq!(left_behind(&node).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_drift_is_found_with_the_event_that_the_row_should_show() {
    let url = database_url().await;
    let worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let mut dossiers = Vec::new();
    for number in 0..5 {
        let dossier = node.create_dossier(&owner).await;
        dossiers.push(node.retitle(dossier.id, &owner, &format!("{number}")).await);
    }
    caught_up(&node).await;
    assert_eq!(verified(&node, "dossier").await.drifted, 0);
    let [edited, removed, ..] = dossiers.as_slice() else { unreachable!() };
    let stranger = Uuid::now_v7();
    let columns = "owner_id, organization_id, category, title, description, fields, status, origin, reviewer_id,
        open_change_request, decision, archived, version, created_at, updated_at, submitted_at, decided_at";
    let drift = format!(
        "update dossier.dossiers set title = 'Another' where id = '{}';
         insert into dossier.dossiers (id, {columns})
             select '{stranger}', {columns} from dossier.dossiers where id = '{}';
         delete from dossier.dossiers where id = '{}'",
        edited.id, removed.id, removed.id
    );
    execute(&url, &drift).await;
    let found = verified(&node, "dossier").await;
    assert_eq!((found.position, found.rows, found.drifted), (10, 5, 3));
    let of = |id: Uuid| found.drifts.iter().find(|drift| drift.key.contains(&id.to_string())).unwrap();
    let (edited_row, removed_row, stranger_row) = (of(edited.id), of(removed.id), of(stranger));
    assert_eq!((edited_row.kind, &*edited_row.table), (DriftKind::Different, "dossiers"));
    assert_eq!(edited_row.event, Some((edited.position, "DossierEdited".to_owned())));
    assert_eq!(
        (removed_row.kind, removed_row.event.clone()),
        (DriftKind::Missing, Some((removed.position, "DossierEdited".to_owned())))
    );
    assert_eq!((stranger_row.kind, stranger_row.event.clone()), (DriftKind::Surplus, None));

    // As the operator is told.
    let mut command = Process::command(&["verify", "dossier", "account"]);
    command.env("DATABASE_URL", &url).env("NATS_URL", &servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32));
    let (code, said) = run(command).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("dossier: 5 rows at position 10, 3 drifted\n"), "{said}");
    let line = format!(
        "dossiers ({}) is not what the log says; its last event is DossierEdited at {}",
        edited.id, edited.position
    );
    assert!(said.contains(&line) && said.contains("account: 0 rows at position 10, 0 drifted"), "{said}");
    assert!(said.contains("3 rows are not what the log says: `capitune rebuild` makes them anew"), "{said}");
    rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await.unwrap();
    assert_eq!(verified(&node, "dossier").await.drifted, 0);

    // Rows that stand still are verified where they stand.
    drop(worker);
    node.write(1).await;
    assert_eq!(verified(&node, "dossier").await.position, 10);
    assert_eq!(left_behind(&node).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_cancelled_and_leaves_nothing_behind() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    node.write(20).await;
    caught_up(&node).await;
    let (cancel, tried) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let progress = {
        let (cancel, tried) = (cancel.clone(), tried.clone());
        move |_, _| {
            tried.store(true, Ordering::SeqCst);
            cancel.cancel();
        }
    };
    let cancelled = verify("dossier", &node.store, &node.database, &cancel, &progress).await;
    assert!(matches!(cancelled, Err(RebuildError::Cancelled)), "{cancelled:?}");
    assert!(tried.load(Ordering::SeqCst));
    assert_eq!(left_behind(&node).await, 0);
    let unknown = verify("nonsense", &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await;
    assert!(matches!(unknown, Err(RebuildError::Unknown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_goes_on_no_rebuild_begins() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    node.write(3).await;
    caught_up(&node).await;
    let stop = CancellationToken::new();
    let (begun, wait) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let verification = tokio::spawn({
        let (node, stop) = (node.clone(), stop.clone());
        async move {
            let progress = move |_, _| {
                if begun.send(()).is_ok() {
                    tokio::task::block_in_place(|| may_go_on.lock().unwrap().recv().ok());
                }
            };
            verify("dossier", &node.store, &node.database, &stop, &progress).await
        }
    });
    tokio::task::spawn_blocking(move || wait.recv().unwrap()).await.unwrap();
    let rebuilt = rebuild("dossier", &node.store, &node.database, &stop, &|_, _| {}).await;
    assert!(matches!(rebuilt, Err(RebuildError::Running)), "{rebuilt:?}");
    let another = verify("dossier", &node.store, &node.database, &stop, &|_, _| {}).await;
    assert!(matches!(another, Err(RebuildError::Running)), "{another:?}");
    go_on.send(()).unwrap();
    assert_eq!(verification.await.unwrap().unwrap().drifted, 0);
    rebuild("dossier", &node.store, &node.database, &stop, &|_, _| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_verifies_by_itself_and_tells_what_it_finds() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let (admin, ada) = (system.admin().await, system.client().register("Ada").await);
    let dossier = ada.create_dossier("One").await.id();
    let node = Node::start(&url).await;
    caught_up(&node).await;
    let verified = async |name: &str| {
        let answer = admin.get("/api/admin/projections").await.expect(200);
        let items = answer.body["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == name).unwrap()["verified"].clone()
    };
    assert!(verified("dossier").await.is_null());
    let due = "update projection_verifications set verified_at = 'epoch'";
    eventually("it is planned", async || {
        node.ask::<i64>("select count(*) from projection_verifications").await == NAMES.len() as i64
    })
    .await;
    execute(&url, due).await;
    for name in NAMES {
        eventually("it is verified", async || !verified(name).await.is_null()).await;
        assert_eq!(verified(name).await["drifted"], 0, "{name}");
    }
    assert_eq!(verified("dossier").await["rows"], 1);
    execute(&url, "update dossier.dossiers set title = 'Another'").await;
    execute(&url, due).await;
    eventually("the drift is found", async || verified("dossier").await["drifted"] == 1).await;
    assert_eq!(verified("dossier").await["drift"], format!("dossiers ({dossier})"));
    eventually("it is reported", async || {
        let metrics = system.client().get("/metrics").await.expect(200);
        metrics.body.as_str().unwrap().contains("capitune_projection_drift{projection=\"dossier\"} 1")
    })
    .await;
    // The other projections are still being verified.
    eventually("nothing is left behind", async || left_behind(&node).await == 0).await;
}
