//! Verifying a case file, with nothing but the file and a key.

use std::io::{Read, Seek};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::dossier::Dossier;
use domain::personal::SEALED;
use domain::{Aggregate, Metadata, Role};
use event_store::audit::{Hash, SignedHead, StoredEvent, VerifierKey, verify_inclusion};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;
use zip::ZipArchive;

use super::{HEAD, HISTORY, KEYS, PROOFS};
use crate::routes::dossier::payload_data;

/// The largest file in a case file that is read.
const LARGEST: u64 = 1 << 30;

/// Why a case file proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It is no case file.
    #[error("it is no case file: {0}")]
    Malformed(String),
    /// It proves nothing.
    #[error("it does not hold: {0}")]
    Refuted(String),
}

/// What a case file proves.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedCase {
    /// The dossier.
    pub dossier: String,
    /// How many events it has, each proved, none missing among them.
    pub events: u64,
    /// The head that they are under.
    pub head: SignedHead,
    /// Who signed it: one of the keys given, or what the file says itself.
    pub key: VerifierKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    verifier_key: String,
}

#[derive(Deserialize)]
struct Proof {
    position: u64,
    leaf: String,
    path: Vec<String>,
}

/// What the history says of an event that is proved.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    version: u64,
    position: u64,
    r#type: String,
    at: DateTime<Utc>,
    actor: Actor,
    data: Value,
    request_id: String,
    causation_id: Uuid,
}

#[derive(Deserialize)]
struct Actor {
    id: Uuid,
    role: Role,
}

/// Verifies a case file against the keys that are known, or, where there are none, against the one that it brings.
///
/// # Errors
/// [`CaseError`] when it proves nothing.
pub fn verify(file: impl Read + Seek, known: &[VerifierKey]) -> Result<VerifiedCase, CaseError> {
    let mut archive = ZipArchive::new(file).map_err(|error| CaseError::Malformed(error.to_string()))?;
    let note = read(&mut archive, HEAD)?;
    let head: SignedHead = note.parse().map_err(|error| CaseError::Malformed(format!("{HEAD}: {error}")))?;
    let keys: Vec<Key> = parse(&mut archive, KEYS)?;
    let brought = keys.iter().filter_map(|key| key.verifier_key.parse().ok());
    let keys: Vec<VerifierKey> = if known.is_empty() { brought.collect() } else { known.to_vec() };
    let key = keys.into_iter().find(|key| head.is_signed_by(key));
    let key = key.ok_or_else(|| CaseError::Refuted("its head was not signed by such a key".to_owned()))?;
    let proofs: Vec<Proof> = parse(&mut archive, PROOFS)?;
    let history: Vec<Item> = parse(&mut archive, HISTORY)?;
    let events = proofs.len() as u64;
    if proofs.is_empty() || proofs.len() != history.len() {
        return Err(CaseError::Refuted("it has not as many proofs as events".to_owned()));
    }
    let mut dossier = None;
    for (version, (proof, item)) in (1..).zip(proofs.iter().zip(history)) {
        let event = proved(proof, &head)?;
        let refuted = |what: &str| CaseError::Refuted(format!("version {version}: {what}"));
        let stream = [event.texts[0].clone(), event.texts[1].clone()];
        if stream[0] != Dossier::TYPE || *dossier.get_or_insert_with(|| stream.clone()) != stream {
            return Err(refuted("the event is of another dossier"));
        }
        if event.version != version {
            return Err(refuted("the event is missing"));
        }
        if !says_the_same(&event, &item) {
            return Err(refuted("the history says something else than what is proved"));
        }
    }
    let [_, dossier] = dossier.unwrap_or_default();
    Ok(VerifiedCase { dossier, events, head, key })
}

/// The event, when it is under the head.
fn proved(proof: &Proof, head: &SignedHead) -> Result<StoredEvent, CaseError> {
    let malformed = || CaseError::Malformed(format!("{PROOFS}: position {}", proof.position));
    let leaf = STANDARD.decode(&proof.leaf).map_err(|_| malformed())?;
    let event = StoredEvent::decode(&leaf).ok_or_else(malformed)?;
    let path: Result<Vec<Hash>, _> = proof.path.iter().map(|hash| hash.parse()).collect();
    let path = path.map_err(|_| malformed())?;
    let index = event.position.checked_sub(1).filter(|_| event.position == proof.position).ok_or_else(malformed)?;
    match verify_inclusion(event.leaf(), index, head.head.size, &path, head.head.root) {
        true => Ok(event),
        false => Err(CaseError::Refuted(format!("the event at {} is not under the head", event.position))),
    }
}

fn says_the_same(event: &StoredEvent, item: &Item) -> bool {
    let [_, _, event_type, _, payload, metadata] = &event.texts;
    let (Ok(payload), Ok(metadata)) = (payload_data(payload), serde_json::from_str::<Metadata>(metadata)) else {
        return false;
    };
    (event.version, event.position, event.recorded_at) == (item.version, item.position, item.at.timestamp_micros())
        && *event_type == item.r#type
        && (metadata.actor_id, metadata.actor_role) == (item.actor.id, item.actor.role)
        && (&metadata.request_id, metadata.causation_id) == (&item.request_id, item.causation_id)
        && shows(&payload, &item.data)
}

/// Whether what is shown is what is proved, but for what is sealed there.
fn shows(proved: &Value, shown: &Value) -> bool {
    match (proved, shown) {
        (Value::Object(proved), _) if proved.contains_key(SEALED) => true,
        (Value::Object(proved), Value::Object(shown)) => {
            proved.len() == shown.len()
                && proved.iter().all(|(name, value)| shown.get(name).is_some_and(|shown| shows(value, shown)))
        }
        (Value::Array(proved), Value::Array(shown)) => {
            proved.len() == shown.len() && proved.iter().zip(shown).all(|(proved, shown)| shows(proved, shown))
        }
        _ => proved == shown,
    }
}

fn read(archive: &mut ZipArchive<impl Read + Seek>, name: &str) -> Result<String, CaseError> {
    let malformed = |error: String| CaseError::Malformed(format!("{name}: {error}"));
    let file = archive.by_name(name).map_err(|error| malformed(error.to_string()))?;
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(|error| malformed(error.to_string()))?;
    Ok(text)
}

fn parse<T: DeserializeOwned>(archive: &mut ZipArchive<impl Read + Seek>, name: &str) -> Result<T, CaseError> {
    let text = read(archive, name)?;
    serde_json::from_str(&text).map_err(|error| CaseError::Malformed(format!("{name}: {error}")))
}
