//! The read side of Capitune: the relay from the log to JetStream, the runtime of the projections, and the read
//! models. A projection never writes an event, and never reads another's tables.

pub mod account;
pub mod analytics;
pub mod dossier;
pub mod live;
pub mod mail;
mod models;
pub mod organization;
pub mod past;
pub mod post;

mod announcer;
mod backoff;
mod bus;
mod checkpoint;
mod error;
mod failures;
mod lease;
mod listen;
mod positions;
mod projection;
mod quarantine;
mod rebuild;
mod recovery;
mod registry;
mod relay;
mod rows;
mod runtime;
mod search;
mod status;
mod subscription;
mod upkeep;

pub use bus::connect;
pub use error::ProjectionError;
pub use failures::{Failure, Release, ReleaseError, failures};
pub use models::Models;
pub use positions::{CHECKPOINTS, Lagging, Reached, ReadError, ReadPositions, Scope, partition_of};
pub use projection::{Applying, Pace, Projection, Recorded};
pub use rebuild::verify::Verified;
pub use rebuild::{
    Drift, DriftKind, Progress, RebuildError, RebuildState, Rebuilt, Remade, Retired, cancel_rebuild, rebuilds,
    request_rebuild, retired,
};
pub use recovery::keep_recovering;
pub use registry::{NAMES, Projections, rebuild, rebuild_aggregate, release, roll_back, verify};
pub use relay::{Relay, RelayStatus, stream_trouble};
pub use status::{ProjectionStatus, Verification, status, verifications};

pub(crate) use registry::PARTITIONS;
