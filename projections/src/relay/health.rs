//! How the stream is, for those who run the instance.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::stream::ClusterInfo;
use async_nats::{Client, jetstream};
use event_store::LogId;

use crate::bus;

/// What keeps the stream of this log from taking events, or from surviving the loss of a server; none when nothing does.
/// Answers within `timeout`.
pub async fn stream_trouble(client: &Client, log: LogId, timeout: Duration) -> Option<String> {
    if client.connection_state() != State::Connected {
        return Some("NATS is away".to_owned());
    }
    let mut context = jetstream::new(client.clone());
    context.set_timeout(timeout);
    match context.get_stream(bus::stream_name(log)).await {
        Ok(stream) => stream.cached_info().cluster.as_ref().and_then(cluster_trouble),
        Err(error) => Some(format!("the stream does not answer: {error}")),
    }
}

fn cluster_trouble(cluster: &ClusterInfo) -> Option<String> {
    if cluster.leader.as_ref().is_none_or(String::is_empty) {
        return Some("the stream has no leader".to_owned());
    }
    let behind: Vec<&str> = cluster
        .replicas
        .iter()
        .filter(|replica| replica.offline || !replica.current)
        .map(|replica| replica.name.as_str())
        .collect();
    (!behind.is_empty()).then(|| format!("copies of the stream are offline or behind: {}", behind.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trouble(cluster: serde_json::Value) -> Option<String> {
        cluster_trouble(&serde_json::from_value(cluster).unwrap())
    }

    #[test]
    fn a_stream_without_a_leader_or_with_a_copy_behind_is_in_trouble() {
        let replica = |name: &str, current: bool, offline: bool| json!({ "name": name, "current": current, "offline": offline, "active": 1 });
        let well = json!({ "leader": "a", "replicas": [replica("b", true, false), replica("c", true, false)] });
        assert_eq!(trouble(well), None);
        assert_eq!(trouble(json!({ "leader": "", "replicas": [] })).unwrap(), "the stream has no leader");
        let behind = json!({ "leader": "a", "replicas": [replica("b", false, false), replica("c", true, true)] });
        assert_eq!(trouble(behind).unwrap(), "copies of the stream are offline or behind: b, c");
    }
}
