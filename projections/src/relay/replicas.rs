//! How many nats-servers keep the stream.

use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{Context, ErrorCode};

use super::RelayError;

/// Copies of the stream in a cluster, unless a number was set: one server may be lost.
const IN_A_CLUSTER: usize = 3;

/// How many nats-servers keep the stream: a number that was set, or what the cluster allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replicas(Option<usize>);

impl Replicas {
    pub(super) fn new(set: Option<usize>) -> Self {
        Self(set)
    }

    /// The number wanted on the servers that this context is connected to.
    fn wanted(self, context: &Context) -> usize {
        let clustered = context.client().server_info().cluster.is_some();
        self.0.unwrap_or(if clustered { IN_A_CLUSTER } else { 1 })
    }

    /// Creates the stream with as many copies.
    pub(super) async fn create(self, context: &Context, config: Config) -> Result<(), RelayError> {
        let wanted = self.wanted(context);
        let config = Config { num_replicas: wanted, ..config };
        match context.create_stream(config.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if self.0.is_none() && wanted > 1 && has_no_peers(error.kind()) => {
                tracing::warn!(%error, "the cluster cannot keep {wanted} copies of the stream yet; it begins with one");
            }
            Err(error) => return Err(RelayError::Stream("created", error.to_string())),
        }
        let single = context.create_stream(Config { num_replicas: 1, ..config }).await;
        single.map_err(|error| RelayError::Stream("created", error.to_string()))?;
        Ok(())
    }

    /// Gives a stream that exists as many copies. One that cannot have them goes on as it is.
    pub(super) async fn apply(self, context: &Context, stream: &Stream) {
        let config = &stream.cached_info().config;
        let (wanted, copies) = (self.wanted(context), config.num_replicas);
        if wanted == copies {
            return;
        }
        match context.update_stream(Config { num_replicas: wanted, ..config.clone() }).await {
            Ok(_) => tracing::info!(from = copies, to = wanted, "the stream changes its number of copies"),
            Err(error) => tracing::warn!(%error, copies, wanted, "the stream keeps its number of copies"),
        }
    }
}

fn has_no_peers(error: CreateStreamErrorKind) -> bool {
    let CreateStreamErrorKind::JetStream(answer) = error else { return false };
    [ErrorCode::CLUSTER_NO_PEERS, ErrorCode::INSUFFICIENT_RESOURCES].contains(&answer.error_code())
}
