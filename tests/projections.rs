//! The projections: what they are told is believed only where the log says the same.

use domain::EventEnvelope;
use uuid::Uuid;

use crate::support::bus::Bus;
use crate::support::models::{assert_models_are_the_fold, caught_up};
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute, whole_log};

/// The message of an event, with another title: believed, it would show in a read model.
fn forged(event: &EventEnvelope) -> EventEnvelope {
    let payload = event.payload.get().replace("A request", "Forged");
    EventEnvelope { payload: serde_json::value::RawValue::from_string(payload).unwrap(), ..event.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_repeated_missing_and_foreign_messages_change_nothing() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let bus = Bus::shared(&node).await;
    let owner = node.applicant().await;
    let publish = async |event: &EventEnvelope, log: Option<&str>| {
        let mut headers = bus.headers(event);
        if let Some(log) = log {
            headers.insert("Capitune-Log-Id", log);
        }
        let answer = bus.publish(bus.subject(event), headers, serde_json::to_string(event).unwrap()).await;
        answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer:#}"))
    };
    node.create_dossier(&owner).await;
    // No relay runs: this test plays it, and its tricks.
    bus.create(2).await;
    let worker = Process::worker(&url).await;
    eventually("the worker consumes the stream", || async {
        bus.stream().await.unwrap().cached_info().state.consumer_count == 1
    })
    .await;

    // Late: it was read from the log before.
    node.create_dossier(&owner).await;
    caught_up(&node).await;
    let log = whole_log(&node.store).await;
    assert_eq!(publish(&log[1], None).await, 2);
    // Repeated, and at a sequence that is not its position.
    publish(&log[1], None).await;
    publish(&forged(&log[0]), None).await;
    // Missing: after a hole the next one comes at its own sequence.
    for _ in 0..4 {
        node.create_dossier(&owner).await;
    }
    let log = whole_log(&node.store).await;
    bus.stream().await.unwrap().purge().sequence(5).await.unwrap();
    assert_eq!(publish(&log[4], None).await, 5);
    assert_eq!(publish(&log[5], None).await, 6);
    // Of another log, at the sequence of the next event.
    let mut next = forged(&log[0]);
    (next.position, next.aggregate_id) = (7, Uuid::now_v7());
    assert_eq!(publish(&next, Some(&format!("{}-1", Uuid::now_v7().simple()))).await, 7);
    // No event at all.
    let answer = bus.publish(bus.subject(&next), bus.headers(&next), "{}".to_owned()).await;
    assert_eq!(answer["seq"], 8);

    node.create_dossier(&owner).await;
    eventually("four messages are refused", || async { worker.output().matches("was refused").count() >= 4 }).await;
    assert_models_are_the_fold(&node).await;
    assert!(!worker.output().contains("has stopped"), "{}", worker.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_this_logs_is_not_believed() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    node.write(10).await;
    for lie in ["position = 1000000", "log_id = gen_random_uuid()", "generation = 7", "version = 0"] {
        let mut worker = Process::worker(&url).await;
        assert_models_are_the_fold(&node).await;
        worker.signal("TERM");
        worker.end().await;
        execute(&url, "update dossier.dossiers set title = 'of another log'").await;
        execute(&url, &format!("update checkpoints set {lie} where projection = 'dossier'")).await;
        let _worker = Process::worker(&url).await;
        let wrong = "select count(*) = 0 from dossier.dossiers where title = 'of another log'";
        eventually(lie, || node.ask::<bool>(wrong)).await;
        assert_models_are_the_fold(&node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_the_stream_and_the_checkpoints_of_before_are_not_believed() {
    let url = database_url().await;
    let before = Node::start(&url).await;
    let system = Process::api(&url, &[]).await;
    before.write(10).await;
    assert_models_are_the_fold(&before).await;
    system.kill();
    execute(&url, "update log_identity set generation = generation + 1").await;
    execute(&url, "update dossier.dossiers set title = 'of the time before'").await;
    let _system = Process::api(&url, &[]).await;
    let after = Node::start(&url).await;
    after.write(10).await;
    Bus::shared(&after).await.assert_stream_is_the_log(&after).await;
    let wrong = "select count(*) = 0 from dossier.dossiers where title = 'of the time before'";
    eventually("the dossiers are rebuilt", || after.ask::<bool>(wrong)).await;
    assert_models_are_the_fold(&after).await;
    assert_ne!(Bus::shared(&before).await.name(), Bus::shared(&after).await.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_stops_its_projection_loudly_and_no_other() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let admin = system.admin().await;
    let applicant = system.client().register("Ada").await;
    applicant.create_dossier("A request").await;
    let node = Node::start(&url).await;
    caught_up(&node).await;
    execute(
        &url,
        "insert into events select 'dossier', gen_random_uuid(), 1, 'DossierTeleported', '1', '{}', metadata,
            position + 1, gen_random_uuid(), now() from events order by position desc limit 1",
    )
    .await;
    let projection = async |name: &str| {
        let answer = admin.get("/api/admin/projections").await.expect(200);
        let items = answer.body["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == name).unwrap()
    };
    eventually("the dossiers have stopped", || async { projection("dossier").await["status"] == "failed" }).await;
    let stopped = projection("dossier").await;
    assert!(stopped["failure"].as_str().unwrap().contains("DossierTeleported"), "{stopped:#}");
    assert!(stopped["failed"].as_u64().unwrap() > 0);
    assert!(system.output().contains("the projection has stopped"));
    eventually("it is reported", || async {
        let metrics = system.client().get("/metrics").await.expect(200);
        metrics.body.as_str().unwrap().contains("capitune_projection_failed{projection=\"dossier\"} 1")
    })
    .await;

    applicant.create_dossier("Another request").await;
    let newcomer = system.client().register("Grace").await;
    newcomer.get("/api/users/me").await.expect(200);
    eventually("the accounts go on", || async { projection("account").await["lag"] == 0 }).await;
    assert_eq!(projection("account").await["status"], "running");
    assert!(projection("dossier").await["lag"].as_u64().unwrap() > 0);
}
