//! Rebuilding a read model: nobody who reads it notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use projections::{RebuildError, Release, rebuild, rebuild_aggregate, release};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::data_directory::run;
use crate::support::models::{assert_models_are_as_made_anew, assert_models_are_the_fold, caught_up};
use crate::support::people::People;
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute};

/// Copies the creation of a dossier so many times, of one without anything sealed where there is one.
async fn multiply(url: &str, times: usize) {
    let copy = format!(
        "insert into events
         select one.aggregate_type, copy.id::text, 1, one.event_type, one.event_version, one.payload,
                replace(one.metadata::text, one.aggregate_id, copy.id::text)::json, head + n, gen_random_uuid(), now()
         from (select max(position) as head from events) last,
              (select * from events where event_type = 'DossierCreated'
               order by payload::text like '%$sealed%', position limit 1) one,
              (select n, gen_random_uuid() as id from generate_series(1, {times}) n) copy"
    );
    execute(url, &copy).await;
}

fn rebuild_command(url: &str, nats_url: &str) -> std::process::Command {
    let mut command = Process::command(&["rebuild", "dossier"]);
    command.env("DATABASE_URL", url).env("NATS_URL", nats_url).env("CAPITUNE_MASTER_KEY", "2a".repeat(32));
    command
}

/// Reads until told to stop: a dossier and the list, neither of which may fail or go backwards.
async fn keep_reading(reader: Client, path: String, stop: Arc<AtomicBool>) -> u64 {
    let (mut version, mut titles, mut reads) = (0, Vec::new(), 0);
    while !stop.load(Ordering::SeqCst) {
        let one = reader.get(&path).await.expect(200);
        let read = one.body["version"].as_u64().unwrap();
        assert!(read >= version, "version {read} after {version}");
        version = read;
        let list = reader.get("/api/dossiers?limit=5").await.expect(200);
        let items = list.body["items"].as_array().unwrap();
        let now: Vec<String> = items.iter().map(|item| item["id"].to_string()).collect();
        assert!(titles.is_empty() || now.contains(&titles[0]), "the newest of the list is gone: {titles:?}, {now:?}");
        titles = now;
        reads += 1;
    }
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_never_fail_and_never_go_backwards_while_a_projection_is_rebuilt() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let admin = system.admin().await;
    let applicant = system.client().register("Ada").await;
    let open = json!({ "title": "A request", "category": "housing" });
    let dossier = applicant.post("/api/dossiers", open).await.expect(201);
    multiply(&url, 4000).await;
    let node = Node::start(&url).await;
    caught_up(&node).await;
    let path = format!("/api/dossiers/{}", dossier.id());
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> =
        (0..3).map(|_| tokio::spawn(keep_reading(applicant.clone(), path.clone(), stop.clone()))).collect();
    let writer = tokio::spawn({
        let (applicant, path, stop) = (applicant.clone(), path.clone(), stop.clone());
        async move {
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                number += 1;
                let title = json!({ "title": format!("Title {number}") });
                let written = applicant.put(&path, title).await.expect(200);
                let read = applicant.get(&format!("{path}?minPosition={}", written.position())).await.expect(200);
                assert_eq!(read.body["title"], format!("Title {number}"));
                if number % 20 == 0 {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
    for _ in 0..4 {
        admin.post("/api/admin/projections/dossier/rebuild", json!({})).await.expect(202);
        eventually("the rebuild ends", || async {
            let answer = admin.get("/api/admin/projections").await.expect(200);
            let items = answer.body["items"].as_array().unwrap();
            let rebuilt = items.iter().find(|item| item["name"] == "dossier").unwrap();
            assert_ne!(rebuilt["rebuild"]["status"], "failed", "{rebuilt:#}");
            rebuilt["rebuild"]["status"] == "finished"
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert_models_are_the_fold(&node).await;
}

/// Which schema goes by this name: a number that renaming does not change.
async fn schema(node: &Node, name: &str) -> i64 {
    node.ask(&format!("select coalesce(max(oid::int8), 0) from pg_namespace where nspname = '{name}'")).await
}

async fn rebuild_is(node: &Node, status: &str) -> bool {
    node.ask(&format!(
        "select exists (select from projection_rebuilds where projection = 'dossier' and status = '{status}')"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_leaves_the_old_rows_and_a_worker_goes_on_with_it() {
    let url = database_url().await;
    let nats_url = &crate::support::servers().await.nats_url;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    let worker = Process::worker(&url).await;
    multiply(&url, 40_000).await;
    caught_up(&node).await;
    worker.kill();
    let live = schema(&node, "dossier").await;
    for _ in 0..2 {
        let rebuilding = Process::spawn(rebuild_command(&url, nats_url)).await;
        let begun = "select exists (select from projection_rebuilds where done > 0 and status = 'running')";
        eventually("the rebuild has begun", || node.ask::<bool>(begun)).await;
        sleep(Duration::from_millis(rand::random_range(0..150))).await;
        rebuilding.kill();
        node.create_dossier(&owner).await;
    }
    let next = schema(&node, "dossier_next").await;
    assert!(next > 0 && schema(&node, "dossier").await == live, "it was killed too late");
    let _worker = Process::worker(&url).await;
    eventually("the worker ends it", || rebuild_is(&node, "finished")).await;
    // With the rows that were there, not with others.
    assert_eq!((schema(&node, "dossier").await, schema(&node, "dossier_retired").await), (next, live));
    node.create_dossier(&owner).await;
    assert_models_are_the_fold(&node).await;
    let (code, said) = run(rebuild_command(&url, nats_url)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("was rebuilt up to position"), "{said}");
    assert_models_are_the_fold(&node).await;
    let left: Vec<String> =
        sqlx::query_scalar("select nspname::text from pg_namespace where nspname like 'dossier%' order by 1")
            .fetch_all(&node.database.reads)
            .await
            .unwrap();
    assert_eq!(left, ["dossier", "dossier_retired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_watched_and_cancelled_from_any_node_and_gone_on_with() {
    let url = database_url().await;
    let systems = [Process::api(&url, &[]).await, Process::api(&url, &["api"]).await];
    let admin = systems[0].admin().await;
    let elsewhere = admin.at(&systems[1].url());
    admin.create_dossier("A request").await;
    let node = Node::start(&url).await;
    multiply(&url, 60_000).await;
    caught_up(&node).await;
    let path = "/api/admin/projections/dossier/rebuild";
    elsewhere.delete(path).await.expect_problem(409, "rebuild.not_running");
    let live = schema(&node, "dossier").await;
    elsewhere.post(path, json!({})).await.expect(202);
    let seen = async |client: &Client| {
        let answer = client.get("/api/admin/projections").await.expect(200);
        let items = answer.body["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == "dossier").unwrap()
    };
    eventually("it makes progress", async || {
        let rebuild = seen(&elsewhere).await["rebuild"].clone();
        rebuild["done"].as_u64().unwrap() > 0 && rebuild["total"].as_u64().unwrap() > 60_000
    })
    .await;
    elsewhere.delete(path).await.expect(202);
    assert_eq!(seen(&admin).await["rebuild"]["status"], "cancelled");
    let free = "select count(*) = 0 from pg_locks where locktype = 'advisory' and pid in (
        select pid from pg_stat_activity where query like '%capitune.rebuild%')";
    eventually("it is left", || node.ask::<bool>(free)).await;
    let next = schema(&node, "dossier_next").await;
    assert!(next > 0 && schema(&node, "dossier").await == live, "it was cancelled too late");
    admin.create_dossier("Another request").await;
    assert!(seen(&admin).await["retired"].is_null());
    admin.post(path, json!({})).await.expect(202);
    eventually("it ends", async || seen(&elsewhere).await["rebuild"]["status"] == "finished").await;
    assert_eq!(schema(&node, "dossier").await, next);
    let retired = seen(&admin).await["retired"].clone();
    assert!(retired["version"] == 1 && retired["position"].as_u64().unwrap() > 60_000, "{retired}");
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_second_fold_contradicts_never_take_over() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    node.write(20).await;
    caught_up(&node).await;
    let live = schema(&node, "dossier").await;
    for tampering in [
        "update dossier_next.dossiers set title = 'Another' where id = (select min(id::text)::uuid from dossier_next.dossiers)",
        "delete from dossier_next.dossiers where id = (select max(id::text)::uuid from dossier_next.dossiers)",
    ] {
        let changed = url.clone();
        let progress = move |done, total| {
            if done == total {
                let tamper = execute(&changed, tampering);
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(tamper));
            }
        };
        let refused = rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &progress).await;
        assert!(matches!(refused, Err(RebuildError::Drifted(1, _))), "{refused:?}");
        assert!(rebuild_is(&node, "failed").await);
        assert_eq!((schema(&node, "dossier").await, schema(&node, "dossier_next").await), (live, 0));
        assert_eq!(schema(&node, "dossier_check").await, 0);
    }
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_can_go_back_to_the_earlier_rows_for_a_day() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let (admin, ada) = (system.admin().await, system.client().register("Ada").await);
    let path = format!("/api/dossiers/{}", ada.create_dossier("One").await.id());
    let node = Node::start(&url).await;
    caught_up(&node).await;
    let back = "/api/admin/projections/dossier/rollback";
    admin.post(back, json!({})).await.expect_problem(409, "rebuild.nothing_retired");
    let first = schema(&node, "dossier").await;
    rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await.unwrap();
    let second = schema(&node, "dossier").await;
    for (turn, expected) in [(1, first), (2, second), (3, first)] {
        let written = ada.put(&path, json!({ "title": format!("Turn {turn}") })).await.expect(200).position();
        ada.get(&format!("{path}?minPosition={written}")).await.expect(200);
        if turn == 3 {
            let mut command = Process::command(&["rollback", "dossier"]);
            command.env("DATABASE_URL", &url).env("NATS_URL", &crate::support::servers().await.nats_url);
            command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32));
            let (code, said) = run(command).await;
            assert!(code == Some(0) && said.contains("shows its earlier rows"), "{said}");
        } else {
            admin.post(back, json!({})).await.expect(200);
        }
        // Whoever asks for what they wrote gets it, and nothing earlier.
        let read = ada.get(&format!("{path}?minPosition={written}")).await.expect(200);
        assert_eq!(read.body["title"], format!("Turn {turn}"));
        assert_eq!(schema(&node, "dossier").await, expected);
        assert_models_are_the_fold(&node).await;
    }
    execute(&url, "update projection_retired set version = 7").await;
    admin.post(back, json!({})).await.expect_problem(409, "rebuild.other_version");
    execute(&url, "update projection_retired set retired_at = 'epoch'").await;
    eventually("they are done away with", async || schema(&node, "dossier_retired").await == 0).await;
    admin.post(back, json!({})).await.expect_problem(409, "rebuild.nothing_retired");
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rebuilds_at_once_one_is_refused() {
    let url = database_url().await;
    let nats_url = crate::support::servers().await.nats_url.clone();
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    let (begun, wait) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let first = tokio::spawn({
        let node = node.clone();
        async move {
            let progress = move |_, _| {
                // Nobody listens any more once the second has been refused.
                if begun.send(()).is_ok() {
                    tokio::task::block_in_place(|| may_go_on.lock().unwrap().recv().ok());
                }
            };
            rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &progress).await
        }
    });
    tokio::task::spawn_blocking(move || wait.recv().unwrap()).await.unwrap();
    let second = rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await;
    assert!(matches!(second, Err(RebuildError::Running)), "{second:?}");
    let (code, said) = run(rebuild_command(&url, &nats_url)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a rebuild or verification of this projection is running already"), "{said}");
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    // One right after the other is not at once.
    for _ in 0..20 {
        rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_made_anew_are_the_rows_that_were_kept_up_to_date() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let admin = system.admin().await;
    let applicant = system.client().register("Ada").await;
    let pro = admin.register_with_roles("Grace", &["pro"]).await;
    for number in 0..6 {
        let path = format!("/api/dossiers/{}", applicant.create_dossier("A request").await.id());
        let (reason, message) = ("a reason to open it again", "one page is missing");
        let steps = [
            ("submit", json!({}), 0),
            ("start-review", json!({}), 1),
            ("request-changes", json!({ "reason": "incomplete", "message": message }), 1),
            ("cancel-change-request", json!({}), 1),
            ("refuse", json!({ "motivation": "no room left" }), 1),
            ("reopen", json!({ "reason": reason }), 1),
            ("accept", json!({ "motivation": "welcome" }), 1),
        ];
        for (step, body, who) in steps.into_iter().take(number + 2) {
            [&applicant, &pro][who].post(&format!("{path}/{step}"), body).await.expect(200);
        }
    }
    let discarded = applicant.create_dossier("A mistake").await;
    applicant.delete(&format!("/api/dossiers/{}", discarded.id())).await.expect(200);
    let node = Node::start(&url).await;
    assert_models_are_as_made_anew(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_version_are_left_to_the_build_that_makes_them() {
    let url = database_url().await;
    let worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let [sound, broken] = [node.create_dossier(&owner).await.id, node.create_dossier(&owner).await.id];
    caught_up(&node).await;
    execute(&url, "alter table dossier.dossiers add constraint broken check (title <> 'broken') not valid").await;
    node.retitle(broken, &owner, "broken").await;
    let failure = "select id from projection_failures where projection = 'dossier'";
    eventually("it is held back", async || {
        node.ask::<i64>("select count(*) from projection_failures where projection = 'dossier'").await == 1
    })
    .await;
    worker.kill();
    execute(
        &url,
        "alter table dossier.dossiers drop constraint broken;
         update dossier.dossiers set title = 'of the next version';
         update checkpoints set version = version + 1 where projection = 'dossier'",
    )
    .await;
    let stop = CancellationToken::new();
    let remade = rebuild_aggregate("dossier", sound, &node.store, &node.database, &stop, &|_, _| {}).await;
    assert!(remade.is_err(), "{remade:?}");
    let failure = node.ask::<Uuid>(failure).await;
    let released = release("dossier", failure, Release::Retry, &node.store, &node.database).await;
    assert!(released.is_err(), "{released:?}");
    let untouched = "select count(*) from dossier.dossiers where title = 'of the next version'";
    assert_eq!(node.ask::<i64>(untouched).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_one_aggregate_are_made_anew_among_people_at_work() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let _other = Process::api(&url, &[]).await;
    let (admin, ada) = (system.admin().await, system.client().register("Ada").await);
    let (one, two) = (ada.create_dossier("One").await.id(), ada.create_dossier("Two").await.id());
    let post = ada.post("/api/posts", json!({ "body": "A post" })).await.expect(201).id();
    let comment = ada.post(&format!("/api/posts/{post}/comments"), json!({ "body": "A comment" })).await.expect(201);
    ada.post(&format!("/api/posts/{post}/like"), json!({})).await.expect(200);
    let node = Node::start(&url).await;
    caught_up(&node).await;
    let people = People::begin(&[system.url()], 3).await;
    people.work_on(20).await;
    execute(
        &url,
        &format!(
            "update dossier.dossiers set title = 'wrong' where id in ('{one}', '{two}');
             update post.comments set body = null where id = '{}';
             insert into post.likes (post_id, user_id, at) values ('{post}', gen_random_uuid(), now());
             update post.posts set likes = 7 where id = '{post}'",
            comment.id()
        ),
    )
    .await;
    let rebuild = async |projection: &str, id: Uuid| {
        admin.post(&format!("/api/admin/projections/{projection}/aggregates/{id}/rebuild"), json!({})).await
    };
    let remade = rebuild("dossier", one).await.expect(200).body;
    assert_eq!((&remade["rows"], &remade["changed"]), (&json!(1), &json!(1)));
    let titles = "select string_agg(title, ', ' order by title) from dossier.dossiers where id in ";
    assert_eq!(node.ask::<String>(&format!("{titles} ('{one}', '{two}')")).await, "One, wrong");
    assert_eq!(rebuild("post", post).await.expect(200).body["changed"], 3);
    execute(&url, &format!("delete from dossier.dossiers where id = '{two}'")).await;
    assert_eq!(rebuild("dossier", two).await.expect(200).body["changed"], 1);
    // Nothing is wrong any more, however often it is done, and whatever goes on meanwhile.
    for _ in 0..3 {
        people.work_on(20).await;
        for (projection, id) in [("dossier", one), ("post", post), ("past", one), ("analytics", two)] {
            assert_eq!(rebuild(projection, id).await.expect(200).body["changed"], 0, "{projection}");
        }
    }
    let busiest =
        "select aggregate_id::uuid from events where aggregate_type = 'dossier' order by position desc limit 1";
    // What is recorded while the rows are made belongs to them too.
    for _ in 0..40 {
        let busiest = node.ask::<Uuid>(busiest).await;
        assert_eq!(rebuild("dossier", busiest).await.expect(200).body["changed"], 0);
    }
    rebuild("nothing", one).await.expect_problem(404, "projection.not_found");
    rebuild("dossier", Uuid::now_v7()).await.expect_problem(404, "aggregate.not_found");
    let accesses = admin.get("/api/users/me/accesses?limit=100").await.expect(200).body.to_string();
    assert!(accesses.contains("rebuildAggregate"), "{accesses}");
    people.finish().await;
    assert_models_are_as_made_anew(&node).await;
}
