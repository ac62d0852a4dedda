//! Who the processes are to Postgres: roles that own nothing, with rights that reach no further than their work.

use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::support::models::{assert_models_are_the_fold, caught_up};
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute};

const WHO: &str = "select current_user::text, r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb,
        (select count(*) from pg_class c where c.relowner = r.oid)
        + (select count(*) from pg_namespace n where n.nspowner = r.oid)
        + (select count(*) from pg_proc p where p.proowner = r.oid)
    from pg_roles r where r.rolname = current_user";

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_of_a_process_has_more_rights_than_its_work_needs() {
    let node = Node::start(&database_url().await).await;
    let database = &node.database;
    let mut alone = database.connect_options().connect().await.unwrap();
    let mut found: Vec<(String, bool, i64)> = vec![sqlx::query_as(WHO).fetch_one(&mut alone).await.unwrap()];
    for pool in [&database.reads, &database.writes, &database.models] {
        found.push(sqlx::query_as(WHO).fetch_one(pool).await.unwrap());
    }
    let expected = ["app", "app", "app", "reader"].map(|role| (format!("capitune_{role}"), false, 0));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_changes_nothing_that_was_recorded_or_signed() {
    let node = Node::start(&database_url().await).await;
    node.write(1).await;
    let refused = [
        "update events set event_type = 'X'",
        "delete from events",
        "truncate events",
        "alter table events disable trigger all",
        "drop trigger events_are_immutable on events",
        "set session_replication_role = replica",
        "update audit_heads set size = size + 1",
        "delete from audit_tiles",
        "delete from audit_keys",
        "update audit_keys set active_from = now()",
        "delete from person_keys",
        "delete from log_identity",
        "delete from _sqlx_migrations",
        "create table something (id int)",
        "alter table dossier.dossiers disable row level security",
        "create schema something",
        "alter role capitune_app superuser",
    ];
    for statement in refused {
        let error = sqlx::raw_sql(statement).execute(&node.database.writes).await.unwrap_err().to_string();
        let denied = error.contains("permission denied") || error.contains("must be owner");
        assert!(denied || error.contains("must be superuser"), "{statement}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_work_by_a_login_that_owns_nothing_and_has_no_way_to_more() {
    let url = database_url().await;
    let login = format!("login_{}", uuid::Uuid::now_v7().simple());
    let make = format!("create role {login} login; grant capitune_app, capitune_reader to {login}");
    execute(&url, &make).await;
    let theirs = url.replace("user=capitune", &format!("user={login}"));
    assert_ne!(theirs, url);
    // The whole work of a system, and its mail, exports and erasures with it.
    let process = Process::api(&theirs, &[]).await;
    let ada = process.client().register("Ada").await;
    let created = ada.create_dossier("A request").await;
    let read = format!("/api/dossiers/{}?minPosition={}", created.id(), created.position());
    assert_eq!(ada.get(&read).await.expect(200).body["title"], "A request");
    ada.delete("/api/users/me").await.expect(200);
    let node = Node::start(&theirs).await;
    eventually("it is sealed", async || {
        node.store.tree_head().await.unwrap().is_some_and(|head| head.head.size >= created.position())
    })
    .await;

    let mut connection = PgConnection::connect(&theirs).await.unwrap();
    for statement in [
        "reset role; update events set event_type = 'X'",
        "reset role; alter table events disable trigger all",
        "set role capitune",
        "set session authorization capitune",
    ] {
        connection.execute(statement).await.unwrap_err();
    }
    // Rebuilding makes tables, which is for their owner.
    let stop = CancellationToken::new();
    projections::rebuild("dossier", &node.store, &node.database, &stop, &|_, _| {}).await.unwrap_err();
    let owner = Node::start(&url).await;
    projections::rebuild("dossier", &owner.store, &owner.database, &stop, &|_, _| {}).await.unwrap();
    caught_up(&owner).await;
    assert_models_are_the_fold(&owner).await;
    let edited = process.client().register("Grace").await.create_dossier("Another").await;
    assert!(edited.position() > created.position());
    drop(process);
    execute(&url, &format!("drop owned by {login}; drop role {login}")).await;
}
