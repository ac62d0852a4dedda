//! Who was erased, told outside the database: a backup that is restored knows less, and must not bring anybody back.

use std::collections::BTreeSet;
use std::sync::Arc;

use event_store::LogId;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use reqwest::Url;
use uuid::Uuid;

use crate::object_place;

/// The ledger of one log: an empty object for each person, named by their id.
#[derive(Debug)]
pub struct Ledger {
    store: Arc<dyn ObjectStore>,
    erasures: Path,
}

impl Ledger {
    /// That of this log, and of every copy of it, at `url`; none when that is no place.
    pub fn open(url: &Url, log: LogId) -> Option<Self> {
        let (store, prefix) = object_place::open(url)?;
        let erasures = prefix.join("capitune").join(log.id.to_string()).join("erasures");
        Some(Self { store, erasures })
    }

    /// Writes down that this person was erased.
    ///
    /// # Errors
    /// When the place does not answer.
    pub async fn note(&self, person: Uuid) -> Result<(), object_store::Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let name = self.erasures.clone().join(person.to_string());
        match self.store.put_opts(&name, PutPayload::new(), options).await {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Everybody who was ever erased.
    ///
    /// # Errors
    /// When the place does not answer.
    pub async fn persons(&self) -> Result<BTreeSet<Uuid>, object_store::Error> {
        let named = self.store.list(Some(&self.erasures));
        let persons = named.try_filter_map(async |object| Ok(object.location.filename().and_then(person)));
        persons.try_collect().await
    }
}

fn person(name: &str) -> Option<Uuid> {
    name.parse().ok()
}
