//! Heads as a message to somebody who keeps them: each with the proof that it continues the one before.

use event_store::audit::{Hash, SignedHead};
use reqwest::{Client, Url};
use serde_json::json;

use super::WitnessError;
use crate::routes::HeadView;

impl From<reqwest::Error> for WitnessError {
    fn from(error: reqwest::Error) -> Self {
        // The address may hold secrets.
        Self::Refused(error.without_url().to_string())
    }
}

/// Tells of the head, and proves that it continues the one of `before` events, which was accepted last.
pub(super) async fn send(
    client: &Client,
    url: &Url,
    head: &SignedHead,
    before: u64,
    growth: &[Hash],
) -> Result<(), WitnessError> {
    let told = json!({
        "head": HeadView::from(head),
        "note": head.note(),
        "previousSize": before,
        "consistency": growth,
    });
    let answer = client.post(url.clone()).json(&told).send().await?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(WitnessError::Refused(format!("it answered {status}"))),
    }
}
