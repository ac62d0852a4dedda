//! The log: positions contiguous and in commit order, whatever goes on around the append.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_store::{
    Append, Appended, Claim, EventStore, IdempotencyKey, Lineage, NewEvent, Refusal, StoreError, StreamId,
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Node, database_url, execute, whole_log};

fn event(payload: &str) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "Noted".into(),
        schema_version: 1,
        payload: payload.to_owned(),
        metadata: format!(r#"{{"partitionKey":"{}"}}"#, Uuid::nil()),
    }
}

fn append(id: Uuid, expected_version: u64, events: usize) -> Append {
    Append {
        stream: StreamId { aggregate_type: "note", id },
        expected_version,
        known: false,
        losses: 0,
        events: (0..events).map(|_| event("{}")).collect(),
        unchanged_position: 0,
        idempotency: None,
        claims: Vec::new(),
        persons: Vec::new(),
        lineage: Lineage::default(),
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

/// The same by a caller who has seen the log at that version.
fn known(append: Append) -> Append {
    Append { known: true, ..append }
}

/// Follows the log from the start, as a projection does, until told to stop; every position it saw, in order.
fn follow(store: EventStore, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<u64>> {
    tokio::spawn(async move {
        let mut seen: Vec<u64> = Vec::new();
        loop {
            let stopping = stop.load(Ordering::SeqCst);
            let page = store.read_log(seen.last().copied().unwrap_or(0), 100).await.unwrap();
            if page.is_empty() && stopping {
                return seen;
            }
            seen.extend(page.iter().map(|event| event.position));
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_every_event_once_in_order_while_several_processes_append_and_are_refused() {
    let url = database_url().await;
    let nodes = [Node::start(&url).await, Node::start(&url).await, Node::start(&url).await];
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = nodes.iter().map(|node| follow(node.store.clone(), stop.clone())).collect();
    let shared: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    let writers: Vec<_> = (0..24)
        .map(|writer| {
            let (store, shared) = (nodes[writer % 3].store.clone(), shared.clone());
            tokio::spawn(async move {
                let mut appended = Vec::new();
                for number in 0..40 {
                    let id = if number % 2 == 0 { Uuid::now_v7() } else { shared[(writer + number) % 5] };
                    // Versions of the shared streams are guessed, so that most of these lose.
                    let expected = if number % 2 == 0 { 0 } else { (number % 7) as u64 };
                    if let Ok(done) = store.append(append(id, expected, 1 + number % 3)).await.unwrap() {
                        appended.push(done.position);
                    }
                }
                appended
            })
        })
        .collect();
    let mut answered = Vec::new();
    for writer in writers {
        answered.extend(writer.await.unwrap());
    }
    stop.store(true, Ordering::SeqCst);
    let head = nodes[0].store.head().await.unwrap();
    answered.sort_unstable();
    let count = answered.len();
    answered.dedup();
    assert_eq!(answered.len(), count, "two commands were given one position");
    for reader in readers {
        assert_eq!(reader.await.unwrap(), (1..=head).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_hold_the_lock_and_roll_back_burn_no_position() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (intruder_stop, intruder_url) = (stop.clone(), url.clone());
    let intruder = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&intruder_url).await.unwrap();
        while !intruder_stop.load(Ordering::SeqCst) {
            let mut transaction = connection.begin().await.unwrap();
            let hold = "select pg_advisory_xact_lock(4701966823);
                        insert into events select 'note', gen_random_uuid(), 1, 'Noted', '1', '{}', '{}',
                            coalesce(max(position), 0) + 1, gen_random_uuid(), now() from events;
                        select pg_sleep(0.02)";
            transaction.execute(hold).await.unwrap();
            transaction.rollback().await.unwrap();
        }
    });
    let reader = follow(node.store.clone(), stop.clone());
    for _ in 0..100 {
        node.store.append(append(Uuid::now_v7(), 0, 2)).await.unwrap().unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    intruder.await.unwrap();
    assert_eq!(reader.await.unwrap(), (1..=200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_on_a_refused_command_falls_with_it() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let id = Uuid::now_v7();
    node.store.append(append(id, 0, 1)).await.unwrap().unwrap();
    let lineage = Lineage::default();
    let behind = |expected| Append { lineage: lineage.clone(), ..append(id, expected, 1) };
    // The first is stale; the others continue it, and the last would fit the stream as it really is.
    let first = node.store.enqueue(behind(0)).await.unwrap();
    let second = node.store.enqueue(behind(1)).await.unwrap();
    let third = node.store.enqueue(behind(2)).await.unwrap();
    assert_eq!(first.committed().await.unwrap(), Err(Refusal::Conflict));
    assert_eq!(second.committed().await.unwrap(), Err(Refusal::Conflict));
    assert_eq!(third.committed().await.unwrap(), Err(Refusal::Conflict));
    assert!(lineage.is_broken());
    assert_eq!(node.store.append(append(id, 1, 1)).await.unwrap(), Ok(Appended { version: 2, position: 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_check_that_waited_for_the_lock_is_not_stale() {
    let url = database_url().await;
    let (node, rival) = (Node::start(&url).await, Node::start(&url).await);
    for _ in 0..50 {
        let id = Uuid::now_v7();
        let (one, other) = tokio::join!(node.store.append(append(id, 0, 1)), rival.store.append(append(id, 0, 1)));
        let outcomes = [one.unwrap(), other.unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    }
    assert_eq!(node.store.append(append(Uuid::now_v7(), 7, 1)).await.unwrap(), Err(Refusal::Conflict));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_the_last_event_is_told_all_the_same_what_cannot_be_appended() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let (id, scope) = (Uuid::now_v7(), Uuid::now_v7());
    let key = IdempotencyKey { scope, key: "once".to_owned(), digest: vec![1], status: 200 };
    let with_key = |append| Append { idempotency: Some(key.clone()), ..append };
    node.store.append(with_key(known(append(id, 0, 3)))).await.unwrap().unwrap();
    for (rival, refusal) in [
        (known(append(id, 0, 1)), Refusal::Conflict),
        (known(append(id, 2, 1)), Refusal::Conflict),
        (append(id, 5, 1), Refusal::Conflict),
        (with_key(known(append(Uuid::now_v7(), 0, 1))), Refusal::KeyUsed),
    ] {
        // Neighbours in the batch, which each refusal must leave alone.
        let before = node.store.enqueue(known(append(Uuid::now_v7(), 0, 1))).await.unwrap();
        let refused = node.store.enqueue(rival).await.unwrap();
        let after = node.store.enqueue(known(append(Uuid::now_v7(), 0, 1))).await.unwrap();
        assert_eq!(refused.committed().await.unwrap(), Err(refusal));
        let (before, after) = (before.committed().await.unwrap().unwrap(), after.committed().await.unwrap().unwrap());
        assert_eq!(after.position, before.position + 1);
    }
    let last = node.store.append(known(append(id, 3, 1))).await.unwrap();
    assert_eq!(last, Ok(Appended { version: 4, position: 3 + 4 * 2 + 1 }));
    assert_eq!(whole_log(&node.store).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_remembers_more_than_the_log_holds_leaves_no_hole_in_a_stream() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let id = Uuid::now_v7();
    for version in 0..4 {
        node.store.append(known(append(id, version, 1))).await.unwrap().unwrap();
    }
    // As after a fail-over to a replica that was behind, and appends by others since.
    execute(&url, "alter table events disable trigger all; delete from events where position > 2").await;
    let rival = Node::start(&url).await;
    for _ in 0..2 {
        rival.store.append(append(Uuid::now_v7(), 0, 1)).await.unwrap().unwrap();
    }
    let decided_now = |append| Append { losses: node.store.continuity().losses(), ..append };
    // Whatever was decided before the loss is refused, also on a stream that is new.
    assert_eq!(node.store.append(known(append(id, 4, 1))).await.unwrap(), Err(Refusal::Conflict));
    assert_eq!(node.store.append(known(append(Uuid::now_v7(), 0, 1))).await.unwrap(), Err(Refusal::Conflict));
    assert_eq!(node.store.continuity().losses(), 1);
    for _ in 0..3 {
        assert_eq!(node.store.append(decided_now(append(id, 4, 1))).await.unwrap(), Err(Refusal::Conflict));
        node.store.append(decided_now(known(append(Uuid::now_v7(), 0, 1)))).await.unwrap().unwrap();
    }
    let stream = StreamId { aggregate_type: "note", id };
    assert_eq!(node.store.read_stream(stream, 0).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_postgres_refuses_fails_alone() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let mut pending = Vec::new();
    for number in 0..40 {
        let mut append = append(Uuid::now_v7(), 0, 1);
        if number % 10 == 3 {
            append.events[0] = event("{ this is no JSON");
        }
        pending.push((number, node.store.enqueue(append).await.unwrap()));
    }
    for (number, pending) in pending {
        let outcome = pending.committed().await;
        if number % 10 == 3 {
            assert!(matches!(outcome, Err(StoreError::Invalid(_))));
        } else {
            assert!(outcome.unwrap().is_ok());
        }
    }
    assert_eq!(whole_log(&node.store).await.len(), 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_has_one_owner_however_many_take_it_at_once() {
    let url = database_url().await;
    let nodes = [Node::start(&url).await, Node::start(&url).await];
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let store = nodes[number % 2].store.clone();
            tokio::spawn(async move {
                let id = Uuid::now_v7();
                let claim = Claim { kind: "slug", value: b"one".to_vec(), owner: id, release: false };
                store.append(Append { claims: vec![claim], ..append(id, 0, 1) }).await.unwrap()
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => winners += 1,
            Err(refusal) => assert_eq!(refusal, Refusal::ClaimTaken),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(whole_log(&nodes[0].store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_claim_can_be_taken_again() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let claim = |owner, release| Claim { kind: "slug", value: b"one".to_vec(), owner, release };
    let with = |id, version, claims| Append { claims, ..append(id, version, 1) };
    node.store.append(with(first, 0, vec![claim(first, false)])).await.unwrap().unwrap();
    node.store.append(with(first, 1, vec![claim(first, true)])).await.unwrap().unwrap();
    node.store.append(with(second, 0, vec![claim(second, false)])).await.unwrap().unwrap();
    assert_eq!(node.store.claim_owner("slug", b"one").await.unwrap(), Some(second));
}

/// Of a connection that is to be killed.
const SHORTEST_LIFE: Duration = Duration::from_millis(15);

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_under_load_lose_nothing_and_apply_nothing_twice() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (killer_stop, killer_url) = (stop.clone(), url.clone());
    let killer = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&killer_url).await.unwrap();
        let (mut reached, mut pause) = (0, SHORTEST_LIFE);
        while !killer_stop.load(Ordering::SeqCst) {
            let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()";
            connection.execute(kill).await.unwrap();
            tokio::time::sleep(pause).await;
            let head = "select coalesce(max(position), 0) from events";
            let head: i64 = sqlx::query_scalar(head).fetch_one(&mut connection).await.unwrap();
            // On a machine on which nobody even connects in that time, none would ever be through.
            pause = if head > reached { SHORTEST_LIFE } else { pause * 2 };
            reached = head;
        }
    });
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let store = node.store.clone();
            tokio::spawn(async move {
                let id = Uuid::now_v7();
                for version in 0..40 {
                    let done = store.append(known(append(id, version, 1))).await.unwrap().unwrap();
                    assert_eq!(done.version, version + 1);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    killer.await.unwrap();
    let reader = Node::start(&url).await;
    assert_eq!(whole_log(&reader.store).await.len(), 16 * 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_the_log_is_an_error_and_never_a_short_success() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let id = Uuid::now_v7();
    node.store.append(append(id, 0, 5)).await.unwrap().unwrap();
    execute(&url, "alter table events disable trigger all; delete from events where position = 3").await;
    assert!(matches!(node.store.read_log(0, 100).await, Err(StoreError::Broken(_))));
    let stream = StreamId { aggregate_type: "note", id };
    assert!(matches!(node.store.read_stream(stream, 0).await, Err(StoreError::Broken(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_events_cannot_be_updated_deleted_or_truncated() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    node.store.append(append(Uuid::now_v7(), 0, 1)).await.unwrap().unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    for statement in ["update events set payload = '{}'", "delete from events", "truncate events"] {
        let refused = sqlx::raw_sql(statement).execute(&mut owner).await;
        assert!(refused.unwrap_err().to_string().contains("never changed"), "{statement}");
        let refused = sqlx::raw_sql(statement).execute(&node.database.writes).await;
        assert!(refused.unwrap_err().to_string().contains("permission denied"), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_in_the_log_never_runs_backwards() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    node.store.append(append(Uuid::now_v7(), 0, 1)).await.unwrap().unwrap();
    // As if the clock had been an hour ahead when the last event was recorded.
    execute(
        &url,
        "alter table events disable trigger all; update events set recorded_at = recorded_at + interval '1 hour'",
    )
    .await;
    node.store.append(append(Uuid::now_v7(), 0, 1)).await.unwrap().unwrap();
    let log = whole_log(&node.store).await;
    assert!(log[1].recorded_at >= log[0].recorded_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_markers_and_answers_are_swept_and_young_ones_stay() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    node.store.append(append(Uuid::now_v7(), 0, 1)).await.unwrap().unwrap();
    execute(
        &url,
        "insert into appended_batches (batch_id, recorded_at)
         values ('01800000-0000-7000-8000-000000000000', now() - interval '2 hours'),
                -- By a process whose clock is years behind, and which may still ask for it.
                ('01800000-0000-7000-8000-000000000001', now());
         insert into idempotency_records (scope, key, digest, status, aggregate_id, version, position, recorded_at)
         select gen_random_uuid(), 'key', '', 200, gen_random_uuid(), 1, 1, now() - age
         from unnest(array[interval '49 hours', interval '25 hours']) as age",
    )
    .await;
    node.store.sweep().await.unwrap();
    let left: (i64, i64) =
        sqlx::query_as("select (select count(*) from appended_batches), (select count(*) from idempotency_records)")
            .fetch_one(&node.database.reads)
            .await
            .unwrap();
    assert_eq!(left, (2, 1));
}
