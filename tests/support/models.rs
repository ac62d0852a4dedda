//! Whether the read models are what the log says.

use std::collections::BTreeMap;

use domain::dossier::{Dossier, Status};
use domain::{EventEnvelope, Role, account};
use projections::dossier::{DossierFilter, DossierRow, DossierSort, Narrowing, SortKey, Visible, by_id, list};
use projections::{Models, NAMES, rebuild, status};
use sqlx::PgPool;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Node, PATIENCE, whole_log};

/// Dossiers that are also read one by one, at most.
const SAMPLE: usize = 300;

/// Waits until every projection has reached the head of the log.
pub async fn caught_up(node: &Node) {
    let started = Instant::now();
    loop {
        let projections = status(&node.database.reads).await.unwrap();
        if projections.len() == NAMES.len() && projections.iter().all(|projection| projection.lag == 0) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the projections do not get to the head: {projections:#?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Asserts that the read models, once they have caught up, are the fold of the log.
pub async fn assert_models_are_the_fold(node: &Node) {
    caught_up(node).await;
    let log = whole_log(&node.store).await;
    let folded = folded_dossiers(&log);
    let models = node.models_for(&[Role::Auditor]);
    for (id, row) in folded.iter().take(SAMPLE) {
        let (stored, _) = by_id(&models, *id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(row));
    }
    let listed = all_dossiers(&models).await;
    assert_eq!(listed.len(), folded.len(), "dossiers");
    for (id, row) in &folded {
        assert_eq!(listed.get(id), Some(row));
    }
    assert_eq!(account_versions(&node.database.reads).await, versions::<account::Account>(&log));
}

/// Every dossier that is not discarded, as the log has it.
fn folded_dossiers(log: &[EventEnvelope]) -> BTreeMap<Uuid, DossierRow> {
    let mut streams: BTreeMap<Uuid, Vec<&EventEnvelope>> = BTreeMap::new();
    for event in log.iter().filter(|event| event.is::<Dossier>()) {
        streams.entry(event.aggregate_id).or_default().push(event);
    }
    let rows = streams.into_iter().map(|(id, events)| (id, DossierRow::fold(events).unwrap().unwrap()));
    rows.filter(|(_, row)| row.status != Status::Discarded).collect()
}

/// Every dossier as the list shows it, page by page.
async fn all_dossiers(models: &Models) -> BTreeMap<Uuid, DossierRow> {
    let mut filter = DossierFilter {
        visible: Visible::All,
        narrowing: Narrowing::default(),
        sort: DossierSort { key: SortKey::CreatedAt, descending: false },
        after: None,
        limit: 500,
    };
    let mut rows = BTreeMap::new();
    loop {
        let (page, _) = list(models, &filter).await.unwrap();
        for row in page.items {
            assert!(rows.insert(row.id, row).is_none(), "listed twice");
        }
        filter.after = page.next;
        if filter.after.is_none() {
            return rows;
        }
    }
}

fn versions<A: domain::Aggregate>(log: &[EventEnvelope]) -> BTreeMap<Uuid, u64> {
    log.iter().filter(|event| event.is::<A>()).map(|event| (event.aggregate_id, event.version)).collect()
}

async fn account_versions(pool: &PgPool) -> BTreeMap<Uuid, u64> {
    let rows: Vec<(Uuid, i64)> =
        sqlx::query_as("select id, version from account.accounts").fetch_all(pool).await.unwrap();
    rows.into_iter().map(|(id, version)| (id, version.cast_unsigned())).collect()
}

/// Asserts the same of every read model: made anew from the log, it has the rows that were kept up to date.
pub async fn assert_models_are_as_made_anew(node: &Node) {
    assert_models_are_the_fold(node).await;
    let live = dump(node).await;
    for name in NAMES {
        rebuild(name, &node.store, &node.database, &CancellationToken::new(), &|_, _| {}).await.unwrap();
    }
    for (table, rows) in dump(node).await {
        assert_eq!(live[&table], rows, "{table}");
    }
}

/// Every row of every read model, as text, by table.
pub async fn dump(node: &Node) -> BTreeMap<String, Vec<String>> {
    let pool = &node.database.reads;
    let tables: Vec<String> = sqlx::query_scalar(
        "select schemaname || '.' || tablename from pg_tables
         where schemaname not in ('public', 'pg_catalog', 'information_schema') and schemaname not like '%\\_retired'
         order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut rows = BTreeMap::new();
    for table in tables {
        let query = format!("select t::text from {table} t order by 1");
        rows.insert(table, sqlx::query_scalar(&query).fetch_all(pool).await.unwrap());
    }
    rows
}
