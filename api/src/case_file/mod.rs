//! A dossier's history with the proof that it was not rewritten, as a ZIP that verifies offline.

mod report;
mod verify;

use domain::dossier::Status;
use event_store::audit::{PublishedKey, SignedHead};
use event_store::{EventStore, StoreError};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::archive::{Archive, Unwanted};
use crate::problem::Language;
use crate::routes::dossier::HistoryItem;
use crate::routes::{InclusionProof, KeyView};

pub use verify::{CaseError, VerifiedCase, verify};

const ABOUT: &str = include_str!("about.txt");
const VERIFIER: &str = include_str!("../../../docs/verify.mjs");

const HEAD: &str = "evidence/head.txt";
const KEYS: &str = "evidence/keys.json";
const PROOFS: &str = "evidence/proofs.json";
const HISTORY: &str = "history.json";

/// What a case file is made of.
pub struct CaseFile {
    /// The dossier's id.
    pub id: Uuid,
    /// Its title now.
    pub title: String,
    /// How far it has come.
    pub status: Status,
    /// The language of the report.
    pub language: Language,
    /// The dossier now.
    pub dossier: Box<RawValue>,
    /// What became of it, event by event.
    pub history: Vec<HistoryItem>,
    /// A signed head that covers all of it.
    pub head: SignedHead,
    /// The keys that heads are signed with.
    pub keys: Vec<PublishedKey>,
}

/// Why a case file was not finished.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// Its reader has gone.
    #[error("its reader has gone")]
    Unwanted,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Unwanted> for Unfinished {
    fn from(Unwanted: Unwanted) -> Self {
        Self::Unwanted
    }
}

impl CaseFile {
    /// Writes it, proofs read from the store.
    ///
    /// # Errors
    /// [`Unfinished`]: what was written is cut off, and nobody takes it for whole.
    pub async fn write(self, store: &EventStore, archive: Archive) -> Result<(), Unfinished> {
        archive.add("README.txt", ABOUT.as_bytes().to_vec()).await?;
        archive.add("report.html", report::html(&self).into_bytes()).await?;
        archive.add("dossier.json", pretty(&self.dossier)?).await?;
        archive.add(HISTORY, pretty(&self.history)?).await?;
        archive.add(HEAD, self.head.note().into_bytes()).await?;
        let keys: Vec<KeyView> = self.keys.into_iter().map(KeyView::from).collect();
        archive.add(KEYS, pretty(&keys)?).await?;
        let mut proofs = Vec::with_capacity(self.history.len());
        for item in &self.history {
            proofs.push(InclusionProof::make(store, item.position, self.head.head.size).await?);
        }
        archive.add(PROOFS, pretty(&proofs)?).await?;
        archive.add("verify.mjs", VERIFIER.as_bytes().to_vec()).await?;
        Ok(archive.end().await?)
    }
}

fn pretty(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec_pretty(value).map_err(|error| StoreError::Invalid(error.to_string()))
}
