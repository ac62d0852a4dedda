//! An event that cannot be applied holds back what builds on it, and nothing else; nobody is told that they see all.

use std::time::Duration;

use projections::{Release, ReleaseError, failures, release};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::models::{assert_models_are_as_made_anew, assert_models_are_the_fold, caught_up};
use crate::support::people::People;
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute};

/// From now on no row can be written that shows this title.
async fn break_the_read_model(url: &str) {
    execute(url, "alter table dossier.dossiers add constraint broken check (title not like 'broken%') not valid").await;
}

async fn mend_the_read_model(url: &str) {
    execute(url, "alter table dossier.dossiers drop constraint broken").await;
}

async fn projection(admin: &Client, name: &str) -> Value {
    let answer = admin.get("/api/admin/projections").await.expect(200);
    answer.body["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone()
}

async fn listed(admin: &Client) -> Vec<Value> {
    let answer = admin.get("/api/admin/projections/dossier/failures").await.expect(200);
    answer.body["items"].as_array().unwrap().clone()
}

async fn held(node: &Node, number: i64) {
    let failures = "select count(*) from projection_failures where projection not like '%retired'";
    eventually("the failures are found", async || node.ask::<i64>(failures).await == number).await;
}

async fn title(client: &Client, path: &str, title: &str) -> u64 {
    client.put(path, json!({ "title": title })).await.expect(200).position()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_holds_back_its_own_dossier_and_says_so_until_it_is_tried_again() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let (admin, ada) = (system.admin().await, system.client().register("Ada").await);
    let [broken, sound] = [ada.create_dossier("One").await, ada.create_dossier("Two").await];
    let [broken, sound] = [broken, sound].map(|created| format!("/api/dossiers/{}", created.id()));
    break_the_read_model(&url).await;
    let first = title(&ada, &broken, "broken").await;
    let behind = ada.put(&broken, json!({ "category": "studies" })).await.expect(200).position();
    let other = title(&ada, &sound, "Two again").await;

    // Everything else goes on, and what is held back is told from what is not.
    let flows = ada.get(&format!("{sound}?minPosition={other}")).await.expect(200);
    assert_eq!((&flows.body["title"], flows.header("capitune-held-from")), (&json!("Two again"), ""));
    let stale = ada.get(&broken).await.expect(200);
    assert_eq!((&stale.body["title"], &stale.body["version"]), (&json!("One"), &json!(1)));
    assert_eq!(stale.header("capitune-held-from"), first.to_string());
    assert_eq!(stale.header("capitune-position"), (first - 1).to_string());
    let waiting =
        ada.request(reqwest::Method::GET, &format!("{broken}?minPosition={first}")).header("Prefer", "wait=1");
    ada.send(waiting).await.expect_problem(504, "projection.lagging");
    let list = ada.get(&format!("/api/dossiers?minPosition={other}")).await.expect(200);
    assert_eq!(list.header("capitune-held-from"), first.to_string());
    assert_eq!(list.body["items"].as_array().unwrap().len(), 2);

    let status = projection(&admin, "dossier").await;
    assert_eq!((&status["status"], &status["failed"], &status["held"]), (&json!("running"), &json!(1), &json!(1)));
    assert_eq!(status["lag"], 0);
    let [failure] = listed(&admin).await.try_into().unwrap();
    assert_eq!((&failure["position"], &failure["eventType"]), (&json!(first), &json!("DossierEdited")));
    assert!(failure["reason"].as_str().unwrap().contains("broken (23514)"), "{failure}");
    eventually("it is reported", async || {
        let metrics = system.client().get("/metrics").await.expect(200);
        metrics.body.as_str().unwrap().contains("capitune_projection_held{projection=\"dossier\"} 1")
    })
    .await;

    // Tried again too early, it fails again; and then it does not.
    let retry = format!("/api/admin/projections/dossier/failures/{}/retry", failure["id"].as_str().unwrap());
    let again = admin.post(&retry, json!({})).await.expect(200);
    assert_eq!((&again.body["released"], &again.body["failure"]["attempts"]), (&json!(false), &json!(2)));
    let alone =
        format!("/api/admin/projections/dossier/aggregates/{}/rebuild", failure["aggregateId"].as_str().unwrap());
    admin.post(&alone, json!({})).await.expect_problem(409, "aggregate.held");
    mend_the_read_model(&url).await;
    admin.post(&alone, json!({})).await.expect_problem(409, "aggregate.held");
    assert_eq!(admin.post(&retry, json!({})).await.expect(200).body["released"], true);
    assert_eq!(admin.post(&alone, json!({})).await.expect(200).body["changed"], 0);
    let whole = ada.get(&format!("{broken}?minPosition={behind}")).await.expect(200);
    assert_eq!((&whole.body["title"], &whole.body["category"]), (&json!("broken"), &json!("studies")));
    assert_eq!(whole.body["version"], 3);
    assert_eq!(whole.header("capitune-held-from"), "");
    assert_eq!(ada.get("/api/dossiers").await.expect(200).header("capitune-held-from"), "");
    admin.post(&retry, json!({})).await.expect_problem(404, "failure.not_found");
    assert_eq!(projection(&admin, "dossier").await["failed"], 0);
    assert!(listed(&admin).await.is_empty());
    // Whoever carries it on knows that it goes on.
    let last = title(&ada, &broken, "One for all").await;
    let read = ada.get(&format!("{broken}?minPosition={last}")).await.expect(200);
    assert_eq!(read.body["title"], "One for all");
    assert_models_are_as_made_anew(&Node::start(&url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_can_be_left_out_with_a_reason_that_stays_on_record() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let (admin, ada) = (system.admin().await, system.client().register("Ada").await);
    let path = format!("/api/dossiers/{}", ada.create_dossier("One").await.id());
    break_the_read_model(&url).await;
    title(&ada, &path, "broken").await;
    let node = Node::start(&url).await;
    // Before another event makes up for it in the same batch.
    held(&node, 1).await;
    title(&ada, &path, "Two").await;
    title(&ada, &path, "broken again").await;
    let last = ada.put(&path, json!({ "category": "studies" })).await.expect(200).position();
    let skip =
        |failure: &Value| format!("/api/admin/projections/dossier/failures/{}/skip", failure["id"].as_str().unwrap());
    let [failure] = listed(&admin).await.try_into().unwrap();
    admin.post(&skip(&failure), json!({ "reason": "" })).await.expect_problem(422, "failure.invalid");
    admin.post(&skip(&failure), json!({})).await.expect(422);
    ada.post(&skip(&failure), json!({ "reason": "mine" })).await.expect_problem(403, "access.forbidden");
    let keyed = |failure: &Value, key: &str| {
        let request = admin.request(reqwest::Method::POST, &skip(failure)).json(&json!({ "reason": "a known fault" }));
        request.header("Idempotency-Key", key.to_owned())
    };
    // What comes next is a failure of its own, and no repetition of the request touches it.
    let skipped = admin.send(keyed(&failure, "one")).await.expect(200);
    assert_eq!(skipped.body["released"], false);
    let next = &skipped.body["failure"];
    assert!(next["id"] != failure["id"] && next["attempts"] == 1, "{next}");
    assert_eq!(ada.get(&path).await.expect(200).body["title"], "Two");
    let repeated = admin.send(keyed(&failure, "one")).await.expect(200);
    assert_eq!(repeated.header("idempotent-replayed"), "true");
    admin.send(keyed(&failure, "two")).await.expect_problem(404, "failure.not_found");
    assert_eq!(listed(&admin).await.len(), 1);
    assert_eq!(admin.send(keyed(next, "three")).await.expect(200).body["released"], true);
    let whole = ada.get(&format!("{path}?minPosition={last}")).await.expect(200);
    assert_eq!((&whole.body["title"], &whole.body["category"]), (&json!("Two"), &json!("studies")));
    assert_eq!(whole.body["version"], 5);

    let auditor = admin.register_with_roles("Grace", &["auditor"]).await;
    let accesses = auditor.get("/api/audit/accesses?action=operate&limit=100").await.expect(200);
    let told: Vec<&Value> = accesses.body["items"].as_array().unwrap().iter().map(|item| &item["detail"]).collect();
    let did = json!({ "did": "skip", "reason": "a known fault", "projection": "dossier", "failure": failure["id"] });
    assert!(told.contains(&&did), "{told:#?}");
    // The log keeps what was left out, and once it can be applied a rebuild does.
    mend_the_read_model(&url).await;
    let quiet = |_, _| {};
    projections::rebuild("dossier", &node.store, &node.database, &CancellationToken::new(), &quiet).await.unwrap();
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_applied_twice_when_much_fails_and_is_released_under_way() {
    let url = database_url().await;
    let systems = [Process::api(&url, &[]).await, Process::api(&url, &[]).await];
    let people = People::begin(&[systems[0].url(), systems[1].url()], 6).await;
    let ada = systems[0].client().register("Ada").await;
    let mut paths = Vec::new();
    for number in 0..20 {
        paths.push(format!("/api/dossiers/{}", ada.create_dossier(&format!("{number}")).await.id()));
    }
    people.work_on(30).await;
    break_the_read_model(&url).await;
    for path in &paths {
        title(&ada, path, "broken").await;
    }
    let node = Node::start(&url).await;
    held(&node, 20).await;
    // Its successor holds back what it does not know from itself.
    let third = Process::api(&url, &[]).await;
    let [first, second] = systems;
    people.move_to(&[second.url(), third.url()]);
    first.kill();
    let ada = ada.at(&second.url());
    people.work_on(30).await;
    let writing = tokio::spawn({
        let (ada, paths) = (ada.clone(), paths.clone());
        async move {
            for round in 0..10 {
                for path in &paths {
                    title(&ada, path, &format!("round {round}")).await;
                }
            }
        }
    });
    people.work_on(30).await;
    mend_the_read_model(&url).await;
    let found = failures(&node.database.reads, "dossier", None, 100).await.unwrap();
    assert_eq!(found.len(), 20);
    let releasing = found.iter().flat_map(|failure| {
        // Twice at once: one of them finds nothing left to do.
        [(); 2].map(|()| release("dossier", failure.id, Release::Retry, &node.store, &node.database))
    });
    let released = futures::future::join_all(releasing).await;
    assert_eq!(released.iter().filter(|result| matches!(result, Ok(None))).count(), 20, "{released:?}");
    let others = released.iter().filter(|result| !matches!(result, Ok(None)));
    assert!(others.clone().all(|result| matches!(result, Err(ReleaseError::Unknown))), "{released:?}");
    writing.await.unwrap();
    people.finish().await;
    held(&node, 0).await;
    assert_models_are_as_made_anew(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_a_post_waits_behind_it() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let (ada, grace) = (system.client().register("Ada").await, system.client().register("Grace").await);
    execute(&url, "alter table post.posts add constraint broken check (likes < 1)").await;
    let post = ada.post("/api/posts", json!({ "body": "Hello" })).await.expect(201).id();
    let under = format!("/api/posts/{post}");
    grace.post(&format!("{under}/like"), json!({})).await.expect(200);
    let comment = grace.post(&format!("{under}/comments"), json!({ "body": "Hello" })).await.expect(201);
    let node = Node::start(&url).await;
    held(&node, 1).await;
    caught_up(&node).await;
    let stale = grace.get(&under).await.expect(200);
    assert_eq!((&stale.body["likes"], &stale.body["comments"]), (&json!(0), &json!(0)));
    let comments = grace.get(&format!("{under}/comments")).await.expect(200);
    assert!(comments.body["items"].as_array().unwrap().is_empty() && !comments.header("capitune-held-from").is_empty());
    execute(&url, "alter table post.posts drop constraint broken").await;
    let [failure] = failures(&node.database.reads, "post", None, 9).await.unwrap().try_into().unwrap();
    assert_eq!(failure.aggregate_type, "reaction");
    assert_eq!(release("post", failure.id, Release::Retry, &node.store, &node.database).await.unwrap(), None);
    let whole = grace.get(&format!("{under}?minPosition={}", comment.position())).await.expect(200);
    assert_eq!((&whole.body["likes"], &whole.body["comments"]), (&json!(1), &json!(1)));
    assert_models_are_as_made_anew(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_feed_stands_still_before_what_is_held_back() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let (admin, ada) = (system.admin().await, system.client().register("Ada").await);
    let [broken, sound] = [ada.create_dossier("One").await, ada.create_dossier("Two").await];
    execute(&url, "alter table analytics.dossiers add constraint broken check (status <> 'submitted')").await;
    let first = ada.post(&format!("/api/dossiers/{}/submit", broken.id()), json!({})).await.expect(200).position();
    ada.put(&format!("/api/dossiers/{}", sound.id()), json!({ "category": "studies" })).await.expect(200);
    let node = Node::start(&url).await;
    held(&node, 1).await;
    caught_up(&node).await;
    let seen = admin.get("/api/analytics/changes?wait=1").await.expect(200);
    let after = seen.body["items"].as_array().unwrap().last().unwrap()["position"].as_u64().unwrap();
    assert!(after < first, "{seen:?}");
    let end = admin.get(&format!("/api/analytics/changes?wait=30&after={after}")).await.expect(200);
    assert_eq!((&end.body["after"], end.header("capitune-held-from")), (&json!(first - 1), &*first.to_string()));
    execute(&url, "alter table analytics.dossiers drop constraint broken").await;
    let [failure] = failures(&node.database.reads, "analytics", None, 9).await.unwrap().try_into().unwrap();
    release("analytics", failure.id, Release::Retry, &node.store, &node.database).await.unwrap();
    let rest = admin.get(&format!("/api/analytics/changes?after={}", first - 1)).await.expect(200);
    let told: Vec<&Value> = rest.body["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(told, [&json!(broken.id()), &json!(sound.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_holds_back_what_still_fails_and_releases_what_does_not() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let (one, two) = (node.create_dossier(&owner).await, node.create_dossier(&owner).await);
    break_the_read_model(&url).await;
    node.retitle(one.id, &owner, "broken").await;
    node.retitle(two.id, &owner, "broken in another way").await;
    held(&node, 2).await;
    caught_up(&node).await;
    execute(
        &url,
        "alter table dossier.dossiers drop constraint broken,
             add constraint broken check (title <> 'broken') not valid",
    )
    .await;
    let (stop, quiet) = (CancellationToken::new(), |_, _| {});
    projections::rebuild("dossier", &node.store, &node.database, &stop, &quiet).await.unwrap();
    let left = failures(&node.database.reads, "dossier", None, 9).await.unwrap();
    assert_eq!(left.iter().map(|failure| failure.aggregate_id).collect::<Vec<_>>(), [one.id]);
    // Rows that lack what is held back are what the log says, but for that.
    let verified = projections::verify("dossier", &node.store, &node.database, &stop, &quiet).await.unwrap();
    assert_eq!(verified.drifted, 0);
    node.retitle(one.id, &owner, "sound").await;
    caught_up(&node).await;
    mend_the_read_model(&url).await;
    assert_eq!(release("dossier", left[0].id, Release::Retry, &node.store, &node.database).await.unwrap(), None);
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_too_much_fails_the_projection_stops() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    execute(
        &url,
        "insert into events
         select one.aggregate_type, copy.id::text, 1, one.event_type, one.event_version, one.payload,
                replace(one.metadata::text, one.aggregate_id, copy.id::text)::json, one.position + n, gen_random_uuid(),
                now()
         from (select * from events order by position desc limit 1) one,
              (select n, gen_random_uuid() as id from generate_series(1, 1500) n) copy;
         alter table dossier.dossiers add constraint broken check (version < 1)",
    )
    .await;
    let _worker = Process::worker(&url).await;
    let stopped = "select count(*) > 0 from checkpoints where projection = 'dossier' and status = 'failed'";
    eventually("it stops", || node.ask::<bool>(stopped)).await;
    held(&node, 1_000).await;
    mend_the_read_model(&url).await;
    let (stop, quiet) = (CancellationToken::new(), |_, _| {});
    projections::rebuild("dossier", &node.store, &node.database, &stop, &quiet).await.unwrap();
    assert_models_are_the_fold(&node).await;
    held(&node, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_broken_shape_is_held_back_too() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    execute(
        &url,
        "insert into events select aggregate_type, aggregate_id, 2, 'DossierSubmitted', '1', '{\"Submitted\": 7}', metadata,
             position + 1, gen_random_uuid(), now() from events order by position desc limit 1",
    )
    .await;
    // By the read model, by that of the past, and by the figures.
    held(&node, 3).await;
    node.write(3).await;
    caught_up(&node).await;
    let [failure] = failures(&node.database.reads, "dossier", None, 9).await.unwrap().try_into().unwrap();
    assert_eq!((failure.aggregate_id, failure.position.cast_unsigned()), (dossier.id, dossier.position + 1));
    let unknown = release("dossier", Uuid::now_v7(), Release::Skip, &node.store, &node.database).await;
    assert!(matches!(unknown, Err(ReleaseError::Unknown)), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_while_a_rebuild_cannot_take_over_yet_is_held_back_all_the_same() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let mut dossiers = Vec::new();
    for _ in 0..300 {
        dossiers.push(node.create_dossier(&owner).await.id);
    }
    break_the_read_model(&url).await;
    caught_up(&node).await;
    // Whoever changes the schema keeps it from being renamed.
    let mut changing = node.database.owner_options().connect().await.unwrap();
    changing.execute("begin; grant usage on schema dossier to public").await.unwrap();
    let rebuilding = tokio::spawn({
        let node = node.clone();
        async move {
            let (stop, quiet) = (CancellationToken::new(), |_, _| {});
            projections::rebuild("dossier", &node.store, &node.database, &stop, &quiet).await
        }
    });
    let begun = "select exists (select from projection_rebuilds where done = total and total > 0)";
    eventually("the rebuild is about to take over", || node.ask::<bool>(begun)).await;
    // Over several attempts, each of which meets some.
    for some in dossiers.chunks(50) {
        for dossier in some {
            node.retitle(*dossier, &owner, "broken").await;
        }
        sleep(Duration::from_millis(100)).await;
    }
    changing.execute("rollback").await.unwrap();
    rebuilding.await.unwrap().unwrap();
    held(&node, 300).await;
    caught_up(&node).await;
    mend_the_read_model(&url).await;
    for failure in failures(&node.database.reads, "dossier", None, 1_000).await.unwrap() {
        release("dossier", failure.id, Release::Retry, &node.store, &node.database).await.unwrap();
    }
    assert_models_are_the_fold(&node).await;
}
