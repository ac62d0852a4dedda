//! A table on its way: rows come from the database as fast as they are read, and no faster.

use axum::body::{Body, Bytes};
use domain::Actor;
use event_store::Database;
use futures::{StreamExt, stream};
use projections::analytics::{self, Asked, ReadModel};
use projections::{Models, Reached};
use tokio::sync::{mpsc, oneshot};

use super::{Format, TableError};
use crate::app::App;
use crate::problem::{Problem, codes};

/// What is sent at once, about.
const PIECE: usize = 64 * 1024;
/// Pieces that wait to be sent.
const AHEAD: usize = 2;

/// Which read model is wanted, by whom and how.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The read model.
    pub model: &'static ReadModel,
    /// What of it.
    pub asked: Asked,
    /// In which form.
    pub format: Format,
    /// Who reads it.
    pub reader: Actor,
}

/// Where a table goes, piece by piece.
pub type Pieces = mpsc::Sender<Result<Bytes, Unfinished>>;

/// Why a table was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// Its reader has gone.
    #[error("its reader has gone")]
    Unwanted,
    /// The database did not answer.
    #[error("the read model could not be read")]
    Database(#[from] sqlx::Error),
    /// It could not be written.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl Order {
    /// The table as a body, and how far its rows are.
    ///
    /// # Errors
    /// A 503 when too many are being read, or the database does not answer.
    pub async fn open(self, app: &App) -> Result<(Reached, Body), Problem> {
        let busy = || Problem::new(&codes::TABLES_BUSY).with_retry_after(5);
        let permit = app.tables().try_acquire_owned().map_err(|_| busy())?;
        let (reached, told) = oneshot::channel();
        let (pieces, sent) = mpsc::channel(AHEAD);
        let database = app.database().clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = self.write(database, reached, pieces.clone()).await {
                tracing::warn!(%error, model = self.model.name, "a table was cut off");
                pieces.send(Err(error)).await.ok();
            }
        });
        let reached = told.await.map_err(|_| Problem::new(&codes::STORE_UNAVAILABLE).with_retry_after(1))?;
        let body = stream::unfold(sent, |mut sent| async { Some((sent.recv().await?, sent)) });
        Ok((reached, Body::from_stream(body)))
    }

    /// Writes the table piece by piece, and says how far its rows are with the first; how many they were at the end.
    ///
    /// # Errors
    /// [`Unfinished`]: what was sent is cut off.
    pub async fn write(
        self,
        database: Database,
        reached: oneshot::Sender<Reached>,
        pieces: Pieces,
    ) -> Result<u64, Unfinished> {
        // Of its own: a slow reader must keep nobody from a connection.
        let models = Models::apart(&database, &self.reader);
        let mut written = 0;
        let mut table = self.format.table(self.model)?;
        let mut reached = Some(reached);
        let mut rows = analytics::rows(&models, self.model, self.asked);
        while let Some(row) = rows.next().await {
            let (cells, checkpoint) = row?;
            if let Some(reached) = reached.take() {
                reached.send(checkpoint).map_err(|_| Unfinished::Unwanted)?;
            }
            if let Some(cells) = cells {
                table.add(cells)?;
                written += 1;
            }
            if table.waiting() >= PIECE {
                pieces.send(Ok(table.take().into())).await.map_err(|_| Unfinished::Unwanted)?;
            }
        }
        let rest = table.end()?;
        pieces.send(Ok(rest.into())).await.map_err(|_| Unfinished::Unwanted)?;
        Ok(written)
    }
}
