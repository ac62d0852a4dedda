//! The second wall: with no filter at all, a reader's connection shows nothing that is not theirs.

use std::time::Duration;

use domain::access::DEFAULT_ORGANIZATION;
use domain::{Actor, Role};
use projections::Models;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::models::caught_up;
use crate::support::process::Process;
use crate::support::{Node, actor, database_url, execute, servers};

/// Every table of every read model.
const TABLES: [&str; 21] = [
    "account.accounts",
    "analytics.change_requests",
    "analytics.changes",
    "analytics.community_days",
    "analytics.dossiers",
    "analytics.live_events",
    "analytics.registration_days",
    "analytics.reviewer_decisions",
    "analytics.status_days",
    "analytics.status_durations",
    "dossier.dossiers",
    "live.lives",
    "live.registrations",
    "mail.outbox",
    "organization.members",
    "organization.memberships",
    "organization.organizations",
    "past.dossiers",
    "post.comments",
    "post.likes",
    "post.posts",
];

/// How many rows each table shows to this reader, by a query without any filter.
async fn counts(node: &Node, reader: &Actor) -> Vec<(&'static str, i64)> {
    let models = Models::new(&node.database, reader);
    let mut counts = Vec::new();
    for table in TABLES.into_iter().filter(|table| *table != "mail.outbox") {
        let query = format!("select count(*) from {table}");
        let count = sqlx::query_scalar(&query).fetch_one(&models).await.unwrap();
        counts.push((table, count));
    }
    counts
}

fn count(counts: &[(&'static str, i64)], table: &str) -> i64 {
    counts.iter().find(|(name, _)| *name == table).unwrap().1
}

struct World {
    url: String,
    node: Node,
    _process: Process,
    ada: Client,
    eve: Client,
}

/// Two applicants who have done the same, a draft and a published live event, and figures of all that.
async fn world() -> World {
    let url = database_url().await;
    let process = Process::start(&url, &servers().await.nats_url, &[]).await;
    process.ready().await;
    let admin = process.admin().await;
    let client = process.client();
    let (ada, eve) = (client.register("Ada").await, client.register("Eve").await);
    let organizer = admin.register_with_roles("Grace", &["applicant", "organizer"]).await;
    let live = json!({ "title": "Open day", "description": "All welcome", "timeZone": "Europe/Paris",
                       "startsAt": "2030-01-01T10:00:00Z", "endsAt": "2030-01-01T12:00:00Z" });
    organizer.post("/api/admin/events", live.clone()).await.expect(201);
    let published = organizer.post("/api/admin/events", live).await.expect(201).id();
    organizer.post(&format!("/api/admin/events/{published}/publish"), json!({})).await.expect(200);
    for person in [&ada, &eve] {
        person.post("/api/organizations", json!({ "name": "Les Amis" })).await.expect(201);
        person.create_dossier("A draft").await;
        let submitted = person.create_dossier("Submitted").await.id();
        person.post(&format!("/api/dossiers/{submitted}/submit"), json!({})).await.expect(200);
        let post = person.post("/api/posts", json!({ "body": "Hello" })).await.expect(201).id();
        person.post(&format!("/api/posts/{post}/comments"), json!({ "body": "Me" })).await.expect(201);
        person.post(&format!("/api/posts/{post}/like"), json!({})).await.expect(200);
        person.post(&format!("/api/events/{published}/register"), json!({})).await.expect(200);
    }
    let node = Node::start(&url).await;
    caught_up(&node).await;
    World { url, node, _process: process, ada, eve }
}

fn reader(id: Uuid, roles: &[Role]) -> Actor {
    actor(id, roles)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_its_filter_shows_nothing_foreign() {
    let world = world().await;
    let seen = async |id, roles: &[Role]| counts(&world.node, &reader(id, roles)).await;
    let check = async || {
        let ada = seen(world.ada.user_id, &[Role::Applicant]).await;
        assert_eq!(count(&ada, "dossier.dossiers"), 2);
        assert_eq!((count(&ada, "live.lives"), count(&ada, "live.registrations")), (1, 1));
        assert_eq!((count(&ada, "organization.organizations"), count(&ada, "organization.members")), (1, 1));
        assert_eq!((count(&ada, "post.posts"), count(&ada, "post.likes")), (2, 1));
        for (table, rows) in ada.iter().filter(|(table, _)| table.starts_with("analytics")) {
            assert_eq!(*rows, 0, "{table}");
        }
        let stranger = seen(Uuid::now_v7(), &[Role::Applicant]).await;
        assert_eq!(count(&stranger, "dossier.dossiers"), 0);
        // A pro sees what waits for review in their organisation: no drafts, and nothing of another.
        let pro = seen(Uuid::now_v7(), &[Role::Pro]).await;
        assert_eq!(count(&pro, "dossier.dossiers"), 2);
        let foreign = Actor { organization: Uuid::now_v7(), ..reader(Uuid::now_v7(), &[Role::Pro, Role::Organizer]) };
        let foreign = counts(&world.node, &foreign).await;
        assert_eq!((count(&foreign, "dossier.dossiers"), count(&foreign, "live.registrations")), (0, 0));
        assert_eq!(count(&foreign, "live.lives"), 1);
        let organizer = seen(Uuid::now_v7(), &[Role::Organizer]).await;
        assert_eq!((count(&organizer, "live.lives"), count(&organizer, "live.registrations")), (2, 2));
        assert_eq!(count(&seen(Uuid::now_v7(), &[Role::Auditor]).await, "dossier.dossiers"), 4);
        assert_eq!(count(&seen(Uuid::now_v7(), &[Role::Admin]).await, "dossier.dossiers"), 4);
        let analyst = seen(Uuid::now_v7(), &[Role::Analyst]).await;
        assert!(count(&analyst, "analytics.changes") > 0);
        assert_eq!((count(&analyst, "dossier.dossiers"), count(&analyst, "live.registrations")), (0, 0));
    };
    check().await;
    // A rebuild makes the tables anew, wall included.
    for name in projections::NAMES {
        let (store, database) = (&world.node.store, &world.node.database);
        projections::rebuild(name, store, database, &Default::default(), &|_, _| {}).await.unwrap();
    }
    check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reader_there_is_nothing() {
    let world = world().await;
    let mut connection = PgConnection::connect(&world.url).await.unwrap();
    connection.execute("set role capitune_reader").await.unwrap();
    let contexts = ["", "select set_config('capitune.reader', '', false), set_config('capitune.roles', '', false)"];
    for context in contexts {
        connection.execute(context).await.unwrap();
        for table in TABLES.into_iter().filter(|table| *table != "mail.outbox") {
            let query = format!("select count(*) from {table}");
            let rows: i64 = sqlx::query_scalar(&query).fetch_one(&mut connection).await.unwrap();
            assert_eq!(rows, 0, "{table} after {context:?}");
        }
    }
    // Roles without a person are nobody's.
    connection.execute("select set_config('capitune.roles', 'auditor,admin', false)").await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("select count(*) from dossier.dossiers").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 0);
    for forbidden in [
        "select * from mail.outbox",
        "select * from events",
        "select * from credentials",
        "select * from sessions",
        "select * from person_keys",
        "insert into post.likes values (gen_random_uuid(), gen_random_uuid(), now())",
        "update dossier.dossiers set title = 'x'",
        "delete from account.accounts",
        "truncate live.lives",
    ] {
        connection.execute(forbidden).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_every_read_model_is_behind_the_wall() {
    let url = database_url().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let rows = sqlx::query(
        "select n.nspname || '.' || c.relname as name, c.relrowsecurity, c.relforcerowsecurity,
             (select count(*) from pg_policies p where p.schemaname = n.nspname and p.tablename = c.relname) as policies
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_'
           and n.nspname not in ('public', 'information_schema') order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get("name")).collect();
    assert_eq!(names, TABLES);
    for row in &rows {
        let name: String = row.get("name");
        let wall: (bool, bool) = (row.get("relrowsecurity"), row.get("relforcerowsecurity"));
        assert_eq!(wall, (true, true), "{name}");
        assert_eq!(row.get::<i64, _>("policies"), if name == "mail.outbox" { 1 } else { 2 }, "{name}");
    }
    let attributes: (bool, bool, bool, bool, bool) = sqlx::query_as(
        "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin from pg_roles
         where rolname = 'capitune_reader'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(attributes, (false, false, false, false, false));
    // Nothing is done in another's name.
    let definers: Vec<String> = sqlx::query_scalar(
        "select p.proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where p.prosecdef and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(definers.is_empty(), "{definers:?}");
    let owned: i64 = sqlx::query_scalar(
        "select count(*) from pg_class where relowner = (select oid from pg_roles where rolname = 'capitune_reader')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(owned, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_share_connections_and_hang_up_never_see_each_others_rows() {
    let world = world().await;
    let (ada, eve) = (world.ada.user_id, world.eve.user_id);
    let mut tasks = Vec::new();
    for number in 0..16_u64 {
        let reader = reader(if number % 2 == 0 { ada } else { eve }, &[Role::Applicant]);
        let models = Models::new(&world.node.database, &reader);
        tasks.push(tokio::spawn(async move {
            for round in 0..60_u64 {
                let query = sqlx::query_scalar::<_, Uuid>("select owner_id from dossier.dossiers").fetch_all(&models);
                // Many are dropped somewhere in the middle.
                let patience = Duration::from_micros(if round % 3 == 0 { 40 * (number + round) } else { 10_000_000 });
                if let Ok(owners) = timeout(patience, query).await {
                    assert_eq!(owners.unwrap(), [reader.id; 2]);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// The wall must not stand in the way of an index.
#[tokio::test(flavor = "multi_thread")]
async fn the_hot_queries_go_by_their_indexes() {
    let url = database_url().await;
    let fill = format!(
        "insert into dossier.dossiers (id, owner_id, organization_id, category, title, fields, status, archived,
             version, created_at, updated_at, submitted_at, reviewer_id)
         select gen_random_uuid(), gen_random_uuid(), '{DEFAULT_ORGANIZATION}', 'housing', 'Title ' || n, '{{}}',
             'submitted', false, 1, now() - n * interval '1 second', now(), now(),
             case when n % 200 > 0 then gen_random_uuid() end from generate_series(1, 20000) n"
    );
    execute(&url, &fill).await;
    execute(&url, "analyze").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("set role capitune_reader").await.unwrap();
    let reads = "select set_config('capitune.reader', '00000000-0000-0000-0000-000000000002', false),
                     set_config('capitune.organization', '00000000-0000-0000-0000-000000000003', false),
                     set_config('capitune.roles', 'applicant,pro', false)";
    connection.execute(reads).await.unwrap();
    for (query, index) in [
        ("where id = gen_random_uuid()", "dossiers_pkey"),
        (
            "where owner_id = '00000000-0000-0000-0000-000000000001' order by created_at desc, id desc limit 21",
            "dossiers_of_owner",
        ),
        (
            "where reviewer_id is null and submitted_at is not null
          and organization_id = '01900000-0000-7000-8000-000000000001' order by created_at desc, id desc limit 21",
            "dossiers_unassigned",
        ),
    ] {
        let query = query.replace("gen_random_uuid()", "'00000000-0000-0000-0000-000000000001'");
        let explain = format!("explain select * from dossier.dossiers {query}");
        let plan: Vec<String> = sqlx::query_scalar(&explain).fetch_all(&mut connection).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
    }
}
