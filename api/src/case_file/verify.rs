//! Verifying a case file, with nothing but the file and a key.

use std::io::{Read, Seek};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use event_store::audit::{Hash, SignedHead, StoredEvent, VerifierKey, verify_inclusion};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use zip::ZipArchive;

use super::{HEAD, HISTORY, KEYS, PROOFS};

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

#[derive(Deserialize)]
struct Item {
    version: u64,
    position: u64,
    r#type: String,
    at: DateTime<Utc>,
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    id: Uuid,
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
    if proofs.is_empty() || proofs.len() != history.len() {
        return Err(CaseError::Refuted("it has not as many proofs as events".to_owned()));
    }
    let mut dossier = None;
    for (version, (proof, item)) in (1..).zip(proofs.iter().zip(&history)) {
        let event = proved(proof, &head)?;
        let refuted = |what: &str| CaseError::Refuted(format!("version {version}: {what}"));
        let stream = [event.texts[0].clone(), event.texts[1].clone()];
        if *dossier.get_or_insert_with(|| stream.clone()) != stream {
            return Err(refuted("the event is of another dossier"));
        }
        if event.version != version {
            return Err(refuted("the event is missing"));
        }
        if !says_the_same(&event, item) {
            return Err(refuted("the history says something else than what is proved"));
        }
    }
    let [_, dossier] = dossier.unwrap_or_default();
    Ok(VerifiedCase { dossier, events: proofs.len() as u64, head, key })
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
    let metadata: Option<serde_json::Value> = serde_json::from_str(&event.texts[5]).ok();
    let actor = metadata.and_then(|metadata| metadata["actorId"].as_str()?.parse::<Uuid>().ok());
    (event.version, event.position) == (item.version, item.position)
        && event.texts[2] == item.r#type
        && event.recorded_at == item.at.timestamp_micros()
        && actor == Some(item.actor.id)
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
