//! What Postgres itself can do with rows like those of the log: the ceiling for any store upon it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgPoolCopyExt, PgPoolOptions};
use uuid::Uuid;

use crate::measure::{Figure, drive};
use crate::servers::execute;

const PAYLOAD_BYTES: usize = 400;
const METADATA_BYTES: usize = 400;
/// Rows of one COPY.
const COPIED: usize = 10_000;

/// Rows into a table like `events`, with its keys, each statement a durable commit of its own.
#[derive(Clone)]
pub struct Limits {
    pool: PgPool,
    position: Arc<AtomicI64>,
    payload: Arc<str>,
    metadata: Arc<str>,
}

impl Limits {
    /// Makes the table.
    pub async fn open(url: &str) -> Self {
        execute(url, "create table limits (like events including all)").await;
        let filler = |bytes| format!("{{\"filler\":\"{}\"}}", "x".repeat(bytes)).into();
        Self {
            pool: PgPoolOptions::new().max_connections(32).test_before_acquire(false).connect(url).await.unwrap(),
            position: Arc::default(),
            payload: filler(PAYLOAD_BYTES),
            metadata: filler(METADATA_BYTES),
        }
    }

    /// Inserts of `rows` rows each over `connections` connections; rows per second.
    pub async fn inserts(&self, connections: usize, rows: usize, time: Duration) -> Figure {
        let limits = self.clone();
        let figure = drive(connections, time, move |_, _| {
            let limits = limits.clone();
            async move { limits.insert(rows).await }
        });
        figure.await.times(rows as f64)
    }

    async fn insert(&self, rows: usize) {
        let first = self.position.fetch_add(rows as i64, Ordering::Relaxed) + 1;
        let positions: Vec<i64> = (first..first + rows as i64).collect();
        let streams: Vec<String> = (0..rows).map(|_| Uuid::now_v7().to_string()).collect();
        let events: Vec<Uuid> = (0..rows).map(|_| Uuid::now_v7()).collect();
        sqlx::query(
            "insert into limits
             select 'dossier', stream, 1, 'DossierCreated', '1', payload::json, metadata::json, position, event,
                    clock_timestamp()
             from unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[])
                  as u (stream, position, event, payload, metadata)",
        )
        .bind(streams)
        .bind(positions)
        .bind(events)
        .bind(vec![&*self.payload; rows])
        .bind(vec![&*self.metadata; rows])
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// COPY on one connection; rows per second.
    pub async fn copies(&self, time: Duration) -> Figure {
        let limits = self.clone();
        let figure = drive(1, time, move |_, _| {
            let limits = limits.clone();
            async move { limits.copy().await }
        });
        figure.await.times(COPIED as f64)
    }

    async fn copy(&self) {
        let first = self.position.fetch_add(COPIED as i64, Ordering::Relaxed) + 1;
        let mut lines = String::with_capacity(COPIED * 1000);
        for position in first..first + COPIED as i64 {
            let (stream, event) = (Uuid::now_v7(), Uuid::now_v7());
            let (payload, metadata) = (&self.payload, &self.metadata);
            lines.push_str(&format!(
                "dossier\t{stream}\t1\tDossierCreated\t1\t{payload}\t{metadata}\t{position}\t{event}\tnow\n"
            ));
        }
        let mut copy = self.pool.copy_in_raw("copy limits from stdin").await.unwrap();
        copy.send(lines.into_bytes()).await.unwrap();
        copy.finish().await.unwrap();
    }
}
