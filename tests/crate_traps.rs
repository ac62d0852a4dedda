//! What the crates and servers underneath do wrong, each out of reach here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use commands::event_sourced::EventSourced;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use cqrs_es::{Aggregate as _, CqrsFramework};
use domain::dossier::Dossier;
use postgres_es::PostgresEventRepository;
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::support::{Node, create, database_url, edit_title, execute};

/// sqlx 0.8: a cancelled `begin()` leaves a transaction open on a connection that the pool hands out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_begin_swallows_no_later_write() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    execute(&url, "create table noted (n bigint primary key)").await;
    let writes = &node.database.writes;
    for n in 0..1000_i64 {
        let begin = tokio::time::timeout(Duration::from_micros((n % 50 * 10).cast_unsigned()), writes.begin());
        drop(begin.await);
        sqlx::query("insert into noted values ($1)").bind(n).execute(writes).await.unwrap();
    }
    let mut witness = PgConnection::connect(&url).await.unwrap();
    let kept: i64 = sqlx::query_scalar("select count(*) from noted").fetch_one(&mut witness).await.unwrap();
    assert_eq!(kept, 1000);
}

/// sqlx 0.8, the other half: on the pool of reads nothing can be written, so nothing can be swallowed.
#[tokio::test(flavor = "multi_thread")]
async fn the_pool_of_reads_refuses_to_write() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    execute(&url, "create table noted (n bigint primary key)").await;
    let refused = sqlx::query("insert into noted values (1)").execute(&node.database.reads).await;
    assert!(refused.unwrap_err().to_string().contains("read-only"));
}

/// postgres-es: a replay whose connection dies ends "cleanly", short.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_connection_dies_is_never_a_short_success() {
    const EVENTS: i64 = 5_000;
    let url = database_url().await;
    let node = Node::start(&url).await;
    execute(
        &url,
        &format!(
            "insert into events select 'note', gen_random_uuid(), 1, 'Noted', '1', '{{}}', '{{}}', n, \
             gen_random_uuid(), now() from generate_series(1, {EVENTS}) n"
        ),
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let (killer_stop, killer_url) = (stop.clone(), url.clone());
    let killer = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&killer_url).await.unwrap();
        let mut pause = 30;
        while !killer_stop.load(Ordering::SeqCst) {
            let kill = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid() and query like '%from events%'";
            connection.execute(kill).await.unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = (pause * 7) % 211;
        }
    });
    let (mut whole, mut refused) = (0, 0);
    while whole < 3 || refused < 3 {
        match node.store.read_log(0, 20_000).await {
            Ok(page) => {
                assert_eq!(page.len() as i64, EVENTS);
                whole += 1;
            }
            Err(_) => refused += 1,
        }
    }
    stop.store(true, Ordering::SeqCst);
    killer.await.unwrap();
}

/// cqrs-es: its snapshot store applies every event twice. If a new version no longer does, our caution may go.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_applied_once_where_the_stock_snapshot_store_applies_them_twice() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    for number in 0..10 {
        node.retitle(dossier.id, &owner, &format!("Title {number}")).await;
    }
    let (state, version) = Node::start(&url).await.commands.state::<Dossier>(dossier.id).await.unwrap();
    assert_eq!((version, state.content().unwrap().title.as_str()), (11, "Title 9"));
    let (warm, _) = node.commands.state::<Dossier>(dossier.id).await.unwrap();
    assert_eq!(warm, state, "the state in memory is the fold of the log");
}

/// postgres-es: its reads serve here, and its writes, which know no position, cannot reach the log.
#[tokio::test(flavor = "multi_thread")]
async fn stock_tables_are_not_ours_and_its_reads_are() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    let stock = PostgresEventRepository::new(node.database.reads.clone());
    let events = stock.get_events::<EventSourced<Dossier>>(&dossier.id.to_string()).await.unwrap();
    assert_eq!((events.len(), events[0].sequence), (1, 1));
    assert_eq!(events[0].event_type, "DossierCreated");
    // Stock may read the log but not write it: its insert has no position.
    let stock: CqrsFramework<EventSourced<Dossier>, _> = CqrsFramework::new(
        PersistedEventStore::new_event_store(PostgresEventRepository::new(node.database.writes.clone())),
        vec![],
        (),
    );
    assert!(stock.execute(&Uuid::now_v7().to_string(), create(&owner)).await.is_err());
    let mut aggregate = EventSourced::<Dossier>::default();
    for event in domain::Aggregate::decide(&aggregate.0, create(&owner)).unwrap() {
        aggregate.apply(commands::event_sourced::Recorded(event));
    }
    assert!(domain::Aggregate::decide(&aggregate.0, edit_title("A request")).unwrap().is_empty());
}
