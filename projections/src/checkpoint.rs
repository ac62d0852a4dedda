//! Checkpoints: a projection's position per partition. A checkpoint at n means that all the partition's events up to
//! n are applied.

use event_store::{Cursor, EventStore, LogId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::ProjectionError;
use crate::projection::Definition;

/// What a projection is, to its checkpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) name: &'static str,
    pub(crate) version: i32,
    pub(crate) partitions: i32,
    pub(crate) log: LogId,
}

impl Identity {
    pub(crate) fn of(definition: &Definition, store: &EventStore) -> Self {
        let Definition { name, version, partitions, .. } = *definition;
        Self { name, version, partitions, log: store.log_id() }
    }
}

/// One partition that this worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) partition: i32,
    pub(crate) epoch: i64,
    pub(crate) at: Cursor,
}

/// What the stored checkpoints say about the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are this build's, of this log.
    Current,
    /// They are of an older version, of another log, or of events that this one does not hold: to be rebuilt.
    Outdated,
    /// A newer build has taken over.
    Superseded,
}

/// Makes the checkpoints of a new projection, and says whether those that stand can be believed.
pub(crate) async fn prepare(connection: &mut PgConnection, identity: Identity) -> Result<Standing, ProjectionError> {
    sqlx::query(
        "insert into public.checkpoints (projection, partition, version, log_id, generation)
         select $1, partition, $2, $3, $4 from generate_series(0, $5 - 1) as partition
         where not exists (select from public.checkpoints where projection = $1)
         on conflict do nothing",
    )
    .bind(identity.name)
    .bind(identity.version)
    .bind(identity.log.id)
    .bind(identity.log.generation)
    .bind(identity.partitions)
    .execute(&mut *connection)
    .await?;
    let (believed, newest): (bool, i32) = sqlx::query_as(
        "select count(*) = $5 and bool_and(version = $2 and log_id = $3 and generation = $4 and (position = 0
                    or exists (select from public.events e
                               where e.position = c.position and (c.event_id is null or c.event_id = e.event_id)))),
                max(version)
         from public.checkpoints c where projection = $1",
    )
    .bind(identity.name)
    .bind(identity.version)
    .bind(identity.log.id)
    .bind(identity.log.generation)
    .bind(i64::from(identity.partitions))
    .fetch_one(connection)
    .await?;
    Ok(match believed {
        _ if newest > identity.version => Standing::Superseded,
        true => Standing::Current,
        false => Standing::Outdated,
    })
}

/// The checkpoints of those partitions that `worker` holds by its leases.
pub(crate) async fn held(
    connection: &mut PgConnection,
    identity: Identity,
    worker: Uuid,
) -> Result<Vec<Held>, ProjectionError> {
    let rows: Vec<(i32, i64, i64, Option<Uuid>)> = sqlx::query_as(
        "select c.partition, c.epoch, c.position, c.event_id
         from public.checkpoints c join public.projection_leases l using (projection, partition)
         where c.projection = $1 and c.version = $2 and c.log_id = $3 and c.generation = $4
           and l.owner = $5 and l.lease_until > clock_timestamp()
         order by c.partition",
    )
    .bind(identity.name)
    .bind(identity.version)
    .bind(identity.log.id)
    .bind(identity.log.generation)
    .bind(worker)
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter();
    let held = |(partition, epoch, position, event_id): (i32, i64, i64, Option<Uuid>)| Held {
        partition,
        epoch,
        at: Cursor { position: position.cast_unsigned(), event_id },
    };
    Ok(rows.map(held).collect())
}

/// Moves the checkpoints of `group`, which all stand at `from`, to `to`, as long as the log holds both events.
///
/// # Errors
/// [`ProjectionError::Fenced`] when one of them does not stand there any more, or when the log does not hold the event:
/// the transaction must be rolled back.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    projection: &str,
    group: &[Held],
    from: Cursor,
    to: Cursor,
) -> Result<(), ProjectionError> {
    #[cfg(not(feature = "sabotage-no-fence"))]
    const ADVANCE: &str = "update public.checkpoints c
         set position = $3, event_id = $7, status = 'running', failure = null
         from unnest($4::int[], $5::bigint[]) as held (partition, epoch)
         where c.projection = $1 and c.partition = held.partition and c.epoch = held.epoch and c.position = $2
           and c.event_id is not distinct from $6
           and exists (select from public.events e where e.position = $3 and e.event_id = $7)";
    #[cfg(feature = "sabotage-no-fence")]
    const ADVANCE: &str = "update public.checkpoints c
         set position = $3, event_id = $7, status = 'running', failure = null
         from unnest($4::int[], $5::bigint[]) as held (partition, epoch)
         where c.projection = $1 and c.partition = held.partition and $2::bigint is not null
           and ($6::uuid is null or true)";
    let moved = sqlx::query(ADVANCE)
        .bind(projection)
        .bind(from.position.cast_signed())
        .bind(to.position.cast_signed())
        .bind(group.iter().map(|held| held.partition).collect::<Vec<_>>())
        .bind(group.iter().map(|held| held.epoch).collect::<Vec<_>>())
        .bind(from.event_id)
        .bind(to.event_id)
        .execute(connection)
        .await?
        .rows_affected();
    if moved == group.len() as u64 { Ok(()) } else { Err(ProjectionError::Fenced) }
}

/// Makes a partition stand still until the transaction ends, and says where.
///
/// # Errors
/// [`ProjectionError::Failed`] when its rows are not this build's to change.
pub(crate) async fn stand_still(
    connection: &mut PgConnection,
    identity: Identity,
    partition: i32,
) -> Result<u64, ProjectionError> {
    let position: Option<i64> = sqlx::query_scalar(
        "select position from public.checkpoints
         where projection = $1 and partition = $2 and version = $3 and log_id = $4 and generation = $5 for update",
    )
    .bind(identity.name)
    .bind(partition)
    .bind(identity.version)
    .bind(identity.log.id)
    .bind(identity.log.generation)
    .fetch_optional(connection)
    .await?;
    let foreign = || ProjectionError::Failed("the rows are of another version, or of another log".to_owned());
    position.map(i64::cast_unsigned).ok_or_else(foreign)
}

/// Tells whoever carries the partition on that its rows, and what it holds back, are not what they were.
pub(crate) async fn changed(
    connection: &mut PgConnection,
    projection: &str,
    partition: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update public.checkpoints c set epoch = c.epoch + 1, held_from = (
             select min(position) from public.projection_failures f where f.projection = $1 and f.partition = $2)
         where c.projection = $1 and c.partition = $2",
    )
    .bind(projection)
    .bind(partition)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records why the partitions of `group` stopped; of all of them when it was none in particular.
pub(crate) async fn fail(
    connection: &mut PgConnection,
    projection: &str,
    group: &[Held],
    reason: &str,
) -> Result<(), ProjectionError> {
    sqlx::query(
        "update public.checkpoints set status = 'failed', failure = $2
         where projection = $1 and (cardinality($3::int[]) = 0
             or (partition, epoch) in (select * from unnest($3::int[], $4::bigint[])))",
    )
    .bind(projection)
    .bind(reason)
    .bind(group.iter().map(|held| held.partition).collect::<Vec<_>>())
    .bind(group.iter().map(|held| held.epoch).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
