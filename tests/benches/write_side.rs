//! Commands per second inside `commands`, against stock cqrs-es over postgres-es on the same machine, in turns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use commands::event_sourced::{EventSourced, Recorded};
use commands::{Commands, Context};
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{CqrsFramework, DomainEvent as _};
use domain::access::DEFAULT_ORGANIZATION;
use domain::dossier::{Dossier, DossierCommand, DossierEvent};
use domain::{Actor, Aggregate, Role};
use event_store::{Database, EventStore, IdempotencyKey};
use futures::{StreamExt, stream};
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;
use uuid::Uuid;

use crate::measure::{Figure, drive};
use crate::servers::execute;

/// Stock cqrs-es, in its event-store mode.
pub type Stock =
    CqrsFramework<EventSourced<Dossier>, PersistedEventStore<PostgresEventRepository, EventSourced<Dossier>>>;

/// The owner of every dossier measured here.
pub const OWNER: Uuid = Uuid::from_u128(0x01900000_0000_7000_8000_00000000beef);

/// Streams that are made at once.
const AT_ONCE: usize = 64;

/// Our write side.
pub async fn open(database: &Database, store: &EventStore) -> Commands {
    store.vault().create_key(OWNER).await.unwrap();
    Commands::new(store.clone(), database)
}

/// The table of stock cqrs-es.
pub async fn create_stock_table(url: &str) {
    execute(
        url,
        "create table stock_events (
             aggregate_type text not null, aggregate_id text not null, sequence bigint not null check (sequence >= 0),
             event_type text not null, event_version text not null, payload json not null, metadata json not null,
             primary key (aggregate_type, aggregate_id, sequence))",
    )
    .await;
}

/// Stock cqrs-es over its own table in the database of `pool`, which is a plain one.
pub fn open_stock(pool: PgPool) -> Arc<Stock> {
    let repository = PostgresEventRepository::new(pool).with_tables("stock_events", "stock_snapshots");
    Arc::new(CqrsFramework::new(PersistedEventStore::new_event_store(repository), vec![], ()))
}

/// A plain pool with a connection for each of `callers`.
pub async fn plain_pool(url: &str, callers: usize) -> PgPool {
    let size = u32::try_from(callers).unwrap();
    let options = PgPoolOptions::new().min_connections(size).max_connections(size);
    options.connect(url).await.unwrap()
}

fn context() -> Context {
    let actor = Actor::new(OWNER, [Role::Applicant].into_iter().collect(), DEFAULT_ORGANIZATION);
    let request = Uuid::now_v7();
    let idempotency = IdempotencyKey { scope: OWNER, key: request.to_string(), digest: vec![7; 32], status: 200 };
    Context {
        actor,
        on_behalf_of: None,
        request_id: request.to_string(),
        traceparent: None,
        correlation_id: request,
        causation_id: request,
        client: Some(domain::metadata::Client {
            address: "127.0.0.1".to_owned(),
            user_agent: Some("benchmark".to_owned()),
        }),
        if_match: None,
        idempotency: Some(idempotency),
        claims: Vec::new(),
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

/// Opens a dossier.
pub fn create() -> DossierCommand {
    DossierCommand::Create {
        owner: OWNER,
        organization: DEFAULT_ORGANIZATION,
        category: "housing".to_owned(),
        title: "A request for housing".to_owned(),
        description: Some("Two rooms, near the school, from the first of the month on.".repeat(3)),
        fields: BTreeMap::new(),
        at: Utc::now(),
    }
}

/// Changes its description.
pub fn edit() -> DossierCommand {
    DossierCommand::Edit {
        title: None,
        category: None,
        description: Some(Some(format!("Two rooms, near the school, {}", Uuid::new_v4()))),
        fields: None,
        at: Utc::now(),
    }
}

/// Executes one edit with everything on: metadata, sealing, an idempotency key. Answers with its position.
pub async fn edit_once(commands: &Commands, id: Uuid) -> u64 {
    let executed = commands.execute::<Dossier>(id, edit(), context()).await;
    executed.unwrap().position
}

/// Creates a dossier with everything on.
pub async fn create_once(commands: &Commands) -> Uuid {
    let id = Uuid::now_v7();
    commands.execute::<Dossier>(id, create(), context()).await.unwrap();
    id
}

/// `count` dossiers with `length` events each.
pub async fn streams(commands: &Commands, count: usize, length: usize) -> Arc<Vec<Uuid>> {
    let opening = (0..count).map(|_| {
        let commands = commands.clone();
        tokio::spawn(async move {
            let id = create_once(&commands).await;
            for _ in 1..length {
                edit_once(&commands, id).await;
            }
            id
        })
    });
    let ids = stream::iter(opening).buffer_unordered(AT_ONCE).map(Result::unwrap);
    Arc::new(ids.collect().await)
}

/// The same for stock, written straight into its table.
pub async fn stock_streams(pool: &PgPool, count: usize, length: usize) -> Arc<Vec<Uuid>> {
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    for chunk in ids.chunks((20_000 / length).max(1)) {
        let mut columns: (Vec<String>, Vec<i64>, Vec<String>, Vec<String>) = Default::default();
        for id in chunk {
            for (sequence, event) in (1..).zip(history(length)) {
                columns.0.push(id.to_string());
                columns.1.push(sequence);
                columns.2.push(event.event_type());
                columns.3.push(serde_json::to_string(&event).unwrap());
            }
        }
        sqlx::query(
            "insert into stock_events
             select 'dossier', id, sequence, type, '1', payload::json, '{}'
             from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) as u (id, sequence, type, payload)",
        )
        .bind(columns.0)
        .bind(columns.1)
        .bind(columns.2)
        .bind(columns.3)
        .execute(pool)
        .await
        .unwrap();
    }
    Arc::new(ids)
}

fn history(length: usize) -> Vec<Recorded<DossierEvent>> {
    let mut state = Dossier::default();
    let mut events = Vec::with_capacity(length);
    for number in 0..length {
        let command = if number == 0 { create() } else { edit() };
        for event in state.decide(command).unwrap() {
            state.apply(&event);
            events.push(Recorded(event));
        }
    }
    events
}

/// Edits spread over `ids` by `callers` callers.
pub async fn run(commands: &Commands, ids: &Arc<Vec<Uuid>>, callers: usize, time: Duration) -> Figure {
    let (commands, ids) = (commands.clone(), ids.clone());
    drive(callers, time, move |caller, number| {
        let (commands, ids) = (commands.clone(), ids.clone());
        async move {
            edit_once(&commands, pick(&ids, caller, number)).await;
        }
    })
    .await
}

/// The same by stock; a command that lost its race is sent again, as a user of the crate would.
pub async fn run_stock(stock: &Arc<Stock>, ids: &Arc<Vec<Uuid>>, callers: usize, time: Duration) -> Figure {
    let (stock, ids) = (stock.clone(), ids.clone());
    drive(callers, time, move |caller, number| {
        let (stock, ids) = (stock.clone(), ids.clone());
        async move {
            let id = pick(&ids, caller, number).to_string();
            while stock.execute_with_metadata(&id, edit(), metadata()).await.is_err() {}
        }
    })
    .await
}

/// Creations by `callers` callers.
pub async fn run_new(commands: &Commands, callers: usize, time: Duration) -> Figure {
    let commands = commands.clone();
    drive(callers, time, move |_, _| {
        let commands = commands.clone();
        async move {
            create_once(&commands).await;
        }
    })
    .await
}

/// The same by stock.
pub async fn run_stock_new(stock: &Arc<Stock>, callers: usize, time: Duration) -> Figure {
    let stock = stock.clone();
    drive(callers, time, move |_, _| {
        let stock = stock.clone();
        async move {
            let id = Uuid::now_v7().to_string();
            stock.execute_with_metadata(&id, create(), metadata()).await.unwrap();
        }
    })
    .await
}

/// What stock is given as metadata.
pub fn metadata() -> std::collections::HashMap<String, String> {
    [("actorId".to_owned(), OWNER.to_string()), ("requestId".to_owned(), Uuid::now_v7().to_string())].into()
}

/// Which stream is whose turn: callers walk over all of them, each on a way of its own.
pub fn pick(ids: &[Uuid], caller: usize, number: usize) -> Uuid {
    ids[(caller * 7919 + number * 31) % ids.len()]
}
