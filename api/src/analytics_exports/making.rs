//! Making an export: rows from the database, pieces to the store, and how it ended to its row.

use std::io::ErrorKind;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use projections::Reached;
use projections::analytics::{Asked, ReadModel};
use ring::digest::{Context, SHA256};
use sqlx::PgPool;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::Export;
use crate::app::App;
use crate::problem::Problem;
use crate::table::{Order, Unfinished};

/// How often a process says that it is still at an export.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long after that another takes it up.
const LEFT_AFTER: &str = "20 seconds";
/// How often it is begun.
const ATTEMPTS: i32 = 3;
/// How long it is kept.
const KEPT: &str = "7 days";

/// Why an export was not made.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("{0}")]
    Refused(Problem),
    #[error("its owner may not read it any more")]
    Forbidden,
    #[error("another process took it up")]
    TakenUp,
    #[error("the table could not be read: {0}")]
    Table(#[from] Unfinished),
    #[error("it could not be kept: {0}")]
    Store(#[from] object_store::Error),
    #[error("it could not be kept: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Problem> for MakeError {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// What was made.
struct Made {
    rows: u64,
    bytes: u64,
    sha256: String,
    reached: Reached,
}

/// Makes an export in the background, unless the process ends before.
pub fn make(app: App, export: Export) {
    tokio::spawn(async move {
        let stop = app.stop().clone();
        // What is cut off here is taken up by another process.
        let Some(made) = stop.run_until_cancelled(beating(&app, &export)).await else { return };
        let made = match made {
            Ok(made) => Some(made),
            Err(error @ MakeError::Forbidden) => {
                tracing::warn!(%error, export = %export.id, "an export was not made");
                None
            }
            Err(error @ MakeError::TakenUp) => return tracing::info!(%error, export = %export.id, "an export is left"),
            // What went wrong may be mended by the time that it is taken up again.
            Err(error) => return tracing::error!(%error, export = %export.id, "an export was not made in one go"),
        };
        if let Err(error) = write_end(app.writes(), &export, made).await {
            tracing::warn!(%error, export = %export.id, "how an export ended could not be written down");
        }
    });
}

/// Makes it while saying so, and leaves it to who took it up meanwhile.
async fn beating(app: &App, export: &Export) -> Result<Made, MakeError> {
    let making = write(app, export);
    tokio::pin!(making);
    let mut tick = interval(HEARTBEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            made = &mut making => return made,
            _ = tick.tick() => {
                let beat = "update analytics_exports set updated_at = clock_timestamp() where id = $1 and attempt = $2";
                match sqlx::query(beat).bind(export.id).bind(export.attempt).execute(app.writes()).await {
                    Ok(beaten) if beaten.rows_affected() == 0 => return Err(MakeError::TakenUp),
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "nobody was told that an export is being made"),
                }
            }
        }
    }
}

async fn write(app: &App, export: &Export) -> Result<Made, MakeError> {
    let actor = app.auth().actor(export.owner_id, export.organization_id).await?.ok_or(MakeError::Forbidden)?;
    domain::can(&actor, domain::Action::ReadAnalytics, &domain::Resource::Instance)
        .map_err(|_| MakeError::Forbidden)?;
    let model = ReadModel::named(&export.read_model).ok_or(MakeError::Forbidden)?;
    let asked = Asked { smallest: app.smallest_group(), first: export.first_day, last: export.last_day };
    let order = Order { model, asked, format: export.format(), reader: actor };
    let (store, prefix) = app.exports().open()?;
    let mut file = BufWriter::new(store.clone(), export.path(prefix));
    let ((reached, told), (pieces, mut sent)) = (oneshot::channel(), mpsc::channel(2));
    let writing = tokio::spawn(order.write(app.database().clone(), reached, pieces));
    let (mut digest, mut bytes) = (Context::new(&SHA256), 0);
    while let Some(piece) = sent.recv().await {
        let piece = piece?;
        digest.update(&piece);
        bytes += piece.len() as u64;
        file.write_all(&piece).await?;
    }
    let rows = writing.await.map_err(|_| Unfinished::Unwanted)??;
    file.shutdown().await?;
    let sha256 = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Made { rows, bytes, sha256, reached: told.await.unwrap_or_default() })
}

async fn write_end(pool: &PgPool, export: &Export, made: Option<Made>) -> Result<(), sqlx::Error> {
    let status = if made.is_some() { "finished" } else { "failed" };
    let end = "update analytics_exports set status = $3, rows = $4, bytes = $5, sha256 = $6, position = $7,
            updated_at = clock_timestamp()
        where id = $1 and attempt = $2 and status = 'running'";
    sqlx::query(end)
        .bind(export.id)
        .bind(export.attempt)
        .bind(status)
        .bind(made.as_ref().map(|made| made.rows.cast_signed()))
        .bind(made.as_ref().map(|made| made.bytes.cast_signed()))
        .bind(made.as_ref().map(|made| made.sha256.as_str()))
        .bind(made.as_ref().map(|made| made.reached.complete_to().cast_signed()))
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes up what others have left, and does away with what is past its time, until the process ends.
pub fn keep_making(app: App) {
    tokio::spawn(async move {
        let mut tick = interval(HEARTBEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while app.stop().run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = look(&app).await {
                tracing::debug!(%error, "nobody could look after the exports");
            }
        }
    });
}

async fn look(app: &App) -> Result<(), MakeError> {
    let given_up = format!(
        "update analytics_exports set status = 'failed', updated_at = clock_timestamp()
         where status = 'running' and attempt >= {ATTEMPTS} and updated_at < clock_timestamp() - interval '{LEFT_AFTER}'"
    );
    sqlx::query(&given_up).execute(app.writes()).await?;
    let left = format!(
        "update analytics_exports set attempt = attempt + 1, updated_at = clock_timestamp()
         where status = 'running' and updated_at < clock_timestamp() - interval '{LEFT_AFTER}' returning *"
    );
    for export in sqlx::query_as::<_, Export>(&left).fetch_all(app.writes()).await? {
        make(app.clone(), export);
    }
    let old =
        format!("select * from analytics_exports where created_at < clock_timestamp() - interval '{KEPT}' limit 100");
    for export in sqlx::query_as::<_, Export>(&old).fetch_all(app.reads()).await? {
        delete_files(app, &export).await?;
        let gone = "delete from analytics_exports where id = $1";
        sqlx::query(gone).bind(export.id).execute(app.writes()).await?;
    }
    Ok(())
}

async fn delete_files(app: &App, export: &Export) -> Result<(), MakeError> {
    let (store, prefix) = app.exports().open()?;
    for attempt in 1..=export.attempt {
        match store.delete(&export.path_of(attempt, prefix)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // What a process that died has begun is no object yet: in a directory it is a file beside them.
    let Some(directory) = app.exports().directory() else { return Ok(()) };
    match tokio::fs::remove_dir_all(directory.join(export.id.to_string())).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
