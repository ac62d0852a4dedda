//! Who got in, who was refused, whose rights changed, who read or took out what: recorded as rows, visible to the person
//! concerned and to auditors, and kept for a while.

mod query;
mod writer;

use std::time::Duration;

use domain::metadata::Client;
use event_store::{Database, EventStore};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

pub use query::{AccessCursor, AccessFilter, RecordedAccess, list};

use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};
use crate::sweep::keep_swept;

/// Accesses that wait to be written, at most.
const QUEUE: usize = 4096;
/// An access is kept for 400 days.
const OLD: &str = "delete from accesses where id in (
    select id from accesses where at < clock_timestamp() - interval '400 days' order by id limit 10000)";
/// How long an answer may wait for its access to be written.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was done, or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessAction {
    /// Somebody logged in, or tried to.
    LogIn,
    /// Somebody who was signed in proved again who they are, or tried to.
    StepUp,
    /// Somebody asked for what is not theirs.
    Request,
    /// An admin changed somebody's roles.
    ChangeRoles,
    /// An admin shut somebody out, or let them in again.
    ChangeStatus,
    /// Somebody read by virtue of their office.
    Read,
    /// Somebody took data out.
    Export,
    /// An admin had a projection rebuilt, or something that it holds back tried again or skipped.
    Operate,
    /// An auditor asked to see what is sealed, somebody agreed, or it was looked at.
    BreakGlass,
}

impl AccessAction {
    fn name(self) -> &'static str {
        match self {
            Self::LogIn => "logIn",
            Self::StepUp => "stepUp",
            Self::Request => "request",
            Self::ChangeRoles => "changeRoles",
            Self::ChangeStatus => "changeStatus",
            Self::Read => "read",
            Self::Export => "export",
            Self::Operate => "operate",
            Self::BreakGlass => "breakGlass",
        }
    }
}

/// One access.
#[derive(Debug, Clone)]
pub struct Access {
    /// What was done, or tried.
    pub action: AccessAction,
    /// The person concerned.
    pub account: Option<Uuid>,
    /// Who did it.
    pub actor: Option<Uuid>,
    /// What it was done to.
    pub resource: Option<(&'static str, Uuid)>,
    /// The code of the problem that it was refused with.
    pub refusal: Option<&'static str>,
    /// What else there is to say; never personal.
    pub detail: Option<Value>,
    client: Option<Client>,
    request_id: String,
}

impl Access {
    /// What was done, or tried, by this request.
    pub fn new(action: AccessAction, info: &RequestInfo) -> Self {
        Self {
            action,
            account: None,
            actor: None,
            resource: None,
            refusal: None,
            detail: None,
            client: info.client.clone(),
            request_id: info.id.clone(),
        }
    }

    /// Done by this account, and concerning nobody else.
    pub fn by(self, account: Uuid) -> Self {
        Self { account: Some(account), actor: Some(account), ..self }
    }

    /// Concerning this account.
    pub fn concerning(self, account: impl Into<Option<Uuid>>) -> Self {
        Self { account: account.into(), ..self }
    }

    /// Done to this.
    pub fn to(self, resource_type: &'static str, id: Uuid) -> Self {
        Self { resource: Some((resource_type, id)), ..self }
    }

    /// Not done, but refused with this problem.
    pub fn refused(self, problem: &Problem) -> Self {
        Self { refusal: Some(problem.code().name), ..self }
    }

    /// With something else to say, which is not personal.
    pub fn with(self, detail: Value) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

type Queued = (Access, Option<oneshot::Sender<()>>);

/// Records accesses, many in one commit.
#[derive(Clone)]
pub struct Accesses {
    queue: mpsc::Sender<Queued>,
}

impl Accesses {
    /// Writes to this database, and sweeps what is past its time, until `stop`.
    pub fn start(database: &Database, store: EventStore, stop: CancellationToken) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        tokio::spawn(writer::run(database.writes.clone(), store, queued));
        keep_swept(database.writes.clone(), "accesses", OLD, stop);
        Self { queue }
    }

    /// Records an access before it is answered.
    ///
    /// # Errors
    /// A 503 when that cannot be done: what is not recorded is not done.
    pub async fn record(&self, access: Access) -> Result<(), Problem> {
        let (written, done) = oneshot::channel();
        let recorded = async {
            self.queue.send((access, Some(written))).await.ok()?;
            done.await.ok()
        };
        let recorded = tokio::time::timeout(PATIENCE, recorded).await;
        recorded.ok().flatten().ok_or_else(|| Problem::new(&codes::STORE_UNAVAILABLE).with_retry_after(1))
    }

    /// Records an access that is answered already. A flood of them is not recorded whole.
    pub fn note(&self, access: Access) {
        if self.queue.try_send((access, None)).is_err() {
            metrics::counter!("capitune_accesses_not_recorded_total").increment(1);
        }
    }
}
