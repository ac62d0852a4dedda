//! Leases: which worker carries on which partitions. Held by a heartbeat, by the database's clock, and shared out
//! evenly over the workers that are alive.

use std::collections::BTreeMap;
use std::time::Duration;

use event_store::Database;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::projection::Definition;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a lease outlives the last heartbeat of its worker.
const LEASE: Duration = Duration::from_secs(5);

/// The partitions that this process holds, by projection, each with its epoch: one that was raised by somebody else (a
/// rebuild, a release) is told like a partition that changed hands.
pub(crate) type HeldPartitions = BTreeMap<String, Vec<(i32, i64)>>;

/// This process's heartbeat.
pub(crate) struct Leases {
    pub(crate) worker: Uuid,
    pub(crate) held: watch::Receiver<HeldPartitions>,
    pub(crate) task: JoinHandle<()>,
}

struct Keeper {
    worker: Uuid,
    options: PgConnectOptions,
    names: Vec<&'static str>,
    versions: Vec<i32>,
    partitions: Vec<i32>,
    connection: Option<PgConnection>,
    held: watch::Sender<HeldPartitions>,
}

impl Leases {
    /// Starts to claim partitions of `projections`.
    pub(crate) fn keep(database: &Database, projections: &[&'static Definition], cancel: CancellationToken) -> Self {
        let (held, receiver) = watch::channel(HeldPartitions::new());
        let worker = Uuid::now_v7();
        let keeper = Keeper {
            worker,
            options: database.connect_options().options([("statement_timeout", "4s")]),
            names: projections.iter().map(|definition| definition.name).collect(),
            versions: projections.iter().map(|definition| definition.version).collect(),
            partitions: projections.iter().map(|definition| definition.partitions).collect(),
            connection: None,
            held,
        };
        Self { worker, held: receiver, task: tokio::spawn(keeper.run(cancel)) }
    }
}

impl Keeper {
    async fn run(mut self, cancel: CancellationToken) {
        let mut tick = interval(HEARTBEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_beat = Instant::now();
        while cancel.run_until_cancelled(tick.tick()).await.is_some() {
            match self.beat().await {
                Ok(partitions) => {
                    last_beat = Instant::now();
                    self.publish(partitions);
                }
                Err(error) => {
                    tracing::warn!(%error, "the leases could not be renewed");
                    self.connection = None;
                    if last_beat.elapsed() >= LEASE {
                        self.publish(HeldPartitions::new());
                    }
                }
            }
        }
        self.publish(HeldPartitions::new());
        if let Err(error) = self.give_up().await {
            tracing::debug!(%error, "the leases are left to expire");
        }
    }

    fn publish(&self, partitions: HeldPartitions) {
        self.held.send_if_modified(|held| {
            let changed = *held != partitions;
            *held = partitions;
            changed
        });
    }

    async fn connected(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.options.connect().await?;
                self.lay_out(&mut connection).await?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// One row per partition.
    async fn lay_out(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into projection_leases (projection, partition)
             select p.name, n from unnest($1::text[], $2::int[]) as p (name, partitions),
                    generate_series(0, p.partitions - 1) as n
             on conflict do nothing",
        )
        .bind(&self.names)
        .bind(&self.partitions)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "delete from projection_leases l using unnest($1::text[], $2::int[]) as p (name, partitions)
             where l.projection = p.name and l.partition >= p.partitions",
        )
        .bind(&self.names)
        .bind(&self.partitions)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Renews what this worker holds up to its fair share, gives up what is beyond, and claims what is free.
    async fn beat(&mut self) -> Result<HeldPartitions, sqlx::Error> {
        let (worker, names, versions) = (self.worker, self.names.clone(), self.versions.clone());
        let connection = self.connected().await?;
        sqlx::query(
            "with gone as (delete from projection_workers where alive_until < clock_timestamp() - interval '1 minute')
             insert into projection_workers (projection, worker, version, alive_until)
             select name, $2, version, clock_timestamp() + make_interval(secs => $3)
             from unnest($1::text[], $4::int[]) as p (name, version)
             on conflict (projection, worker) do update set alive_until = excluded.alive_until",
        )
        .bind(&names)
        .bind(worker)
        .bind(LEASE.as_secs_f64())
        .bind(versions)
        .execute(&mut *connection)
        .await?;
        let rows: Vec<(String, i32, i64)> =
            sqlx::query_as(BEAT).bind(&names).bind(worker).bind(LEASE.as_secs_f64()).fetch_all(connection).await?;
        let mut held = HeldPartitions::new();
        for (projection, partition, epoch) in rows {
            held.entry(projection).or_default().push((partition, epoch));
        }
        Ok(held)
    }

    async fn give_up(&mut self) -> Result<(), sqlx::Error> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        sqlx::query("update projection_leases set owner = null, lease_until = null where owner = $1")
            .bind(self.worker)
            .execute(&mut connection)
            .await?;
        sqlx::query("delete from projection_workers where worker = $1")
            .bind(self.worker)
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
}

/// The last condition is judged again on the row as it stands once its lock is had, so two workers that want the same
/// partition cannot both get it. A partition that changes hands gets a new epoch in the same commit. Only workers of
/// the newest version share: an older build would hold what it may not touch.
const BEAT: &str = "
    with alive as (
        select projection, worker, version, max(version) over (partition by projection) as newest
        from projection_workers where alive_until > clock_timestamp()
    ), sharing as (
        select projection, count(*) as workers, bool_or(worker = $2) as included
        from alive where version = newest group by projection
    ), ranked as (
        select l.projection, l.partition, l.owner is not distinct from $2 as mine,
               l.owner is null or l.lease_until < clock_timestamp() as free,
               row_number() over (
                   partition by l.projection
                   order by l.owner is not distinct from $2 desc,
                            l.owner is null or l.lease_until < clock_timestamp() desc, random()) as rank,
               case when s.included then ceil(count(*) over (partition by l.projection)::float8 / s.workers) else 0 end
                   as share
        from projection_leases l join sharing s using (projection)
        where l.projection = any($1)
    ), given_up as (
        update projection_leases l set owner = null, lease_until = null from ranked r
        where l.projection = r.projection and l.partition = r.partition and r.mine and r.rank > r.share
          and l.owner = $2
    ), kept as (
        update projection_leases l set owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3)
        from ranked r
        where l.projection = r.projection and l.partition = r.partition and (r.mine or r.free) and r.rank <= r.share
          and (l.owner is null or l.owner = $2 or l.lease_until < clock_timestamp())
        returning l.projection, l.partition, r.mine
    ), taken_over as (
        update checkpoints c set epoch = c.epoch + 1 from kept k
        where c.projection = k.projection and c.partition = k.partition and not k.mine
    )
    select k.projection, k.partition, coalesce(c.epoch + (not k.mine)::int, 0)
    from kept k left join checkpoints c using (projection, partition) order by k.projection, k.partition";
