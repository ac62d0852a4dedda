//! Reading at a position: from read models, and from the log itself.

use std::time::Duration;

use event_store::audit::SignedHead;
use projections::{Lagging, Reached, ReadError, Scope};
use tokio::time::{Instant, sleep_until};

use crate::app::App;
use crate::extract::QueryRequest;
use crate::problem::{Problem, codes};

/// How soon to look again for a position of the log, and how seldom after a while: it may never come.
const SOONEST: Duration = Duration::from_millis(25);
const SELDOM: Duration = Duration::from_millis(400);
/// How often to look whether more is sealed, which happens every second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl App {
    /// Reads a projection at the position that the request asks for, or later.
    ///
    /// # Errors
    /// A 504 when it does not get there in time, a 503 when the database does not answer.
    pub async fn read<T, R, F>(
        &self,
        projection: &str,
        scope: Scope,
        request: &QueryRequest<R>,
        query: impl FnMut() -> F,
    ) -> Result<(T, Reached), Problem>
    where
        F: Future<Output = Result<(T, Reached), sqlx::Error>>,
    {
        let (position, deadline) = (request.min_position, request.deadline);
        Ok(self.positions().read(projection, scope, position, deadline, query).await?)
    }

    /// The head of the log, once it is at the position that the request asks for.
    ///
    /// # Errors
    /// A 504 when it does not get there in time, a 503 when the database does not answer.
    pub async fn log_head<R>(&self, request: &QueryRequest<R>) -> Result<u64, Problem> {
        self.log_at(request.min_position, request.deadline).await
    }

    /// The newest signed tree head, once it covers the position `wanted`.
    ///
    /// # Errors
    /// As [`App::log_head`].
    pub async fn sealed_head(&self, wanted: u64, deadline: Instant) -> Result<SignedHead, Problem> {
        loop {
            let head = self.store().tree_head().await?;
            let reached = head.as_ref().map_or(0, |head| head.head.size);
            if let Some(head) = head.filter(|head| head.head.size >= wanted) {
                return Ok(head);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Lagging { reached, wanted }.into());
            }
            sleep_until(deadline.min(now + LOOK_EVERY)).await;
        }
    }

    async fn log_at(&self, wanted: u64, deadline: Instant) -> Result<u64, Problem> {
        let mut pause = SOONEST;
        loop {
            let reached = self.store().head().await?;
            if reached >= wanted {
                return Ok(reached);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Lagging { reached, wanted }.into());
            }
            sleep_until(deadline.min(now + pause)).await;
            pause = SELDOM.min(pause * 2);
        }
    }
}

impl From<Lagging> for Problem {
    fn from(lagging: Lagging) -> Self {
        let Lagging { reached, wanted } = lagging;
        Self::new(&codes::PROJECTION_LAGGING).with_retry_after(1).with_detail(
            format!("position {wanted} was asked for, and the read model is at {reached}"),
            format!("la position {wanted} était demandée, et le modèle de lecture en est à {reached}"),
        )
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Lagging(lagging) => lagging.into(),
            ReadError::Database(error) => error.into(),
        }
    }
}
