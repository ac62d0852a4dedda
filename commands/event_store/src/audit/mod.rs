//! Evidence that recorded history is as it was: a Merkle tree over the log (RFC 9162), signed heads of it, and proofs
//! that anybody can verify who has kept one. Appending pays nothing for it: the sealer follows the log.

mod alignment;
mod head;
mod heads;
mod keys;
mod leaf;
mod sealer;
mod stored;
mod tiles;
mod tree;
mod verify;

pub use alignment::Change;
pub use head::{KeyId, NotAHead, SignedHead, TreeHead, VerifierKey};
pub use heads::LostHead;
pub use keys::{PublishedKey, introduction};
pub use leaf::StoredEvent;
pub use sealer::Sealer;
pub use tree::{Hash, root_above, verify_consistency, verify_inclusion};
pub use verify::{Contradiction, Verified};

use keys::AuditKey;
use tree::{consistency_path, inclusion_path};

use crate::{EventStore, Inner, StoreError};

impl EventStore {
    /// The name of this log in its heads, and of the keys that sign them.
    pub fn audit_origin(&self) -> String {
        self.inner.audit_origin()
    }

    /// The newest signed head; none while nothing is sealed.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn tree_head(&self) -> Result<Option<SignedHead>, StoreError> {
        self.inner.last_head().await
    }

    /// The signed heads that fail-overs have taken away, as far as a process had seen them.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn lost_heads(&self) -> Result<Vec<LostHead>, StoreError> {
        heads::lost(&mut *self.inner.reads.acquire().await?, &self.audit_origin()).await
    }

    /// The keys that heads are signed with, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn tree_keys(&self) -> Result<Vec<PublishedKey>, StoreError> {
        let mut connection = self.inner.reads.acquire().await?;
        Ok(keys::publish(&keys::load(&mut connection, self.vault(), &self.audit_origin()).await?))
    }

    /// Makes a new key, introduced by the one before it: the next head is signed with it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn rotate_tree_key(&self) -> Result<VerifierKey, StoreError> {
        let mut connection = self.inner.writes.acquire().await?;
        let key = keys::rotate(&mut connection, self.vault(), &self.audit_origin()).await?;
        Ok(key.verifier().clone())
    }

    /// The event at `position`, as it is stored.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when it is not there, [`StoreError::Unavailable`] when the database does not answer.
    pub async fn stored_event(&self, position: u64) -> Result<StoredEvent, StoreError> {
        let events =
            stored::read(&mut *self.inner.reads.acquire().await?, position.saturating_sub(1), position).await?;
        events.into_iter().next().ok_or_else(|| StoreError::Broken(format!("{position} is missing")))
    }

    /// The leaf at `position`, and the hashes that prove that it is in the tree of `size` leaves, the nearest first.
    /// `position` is from 1 to `size`, and that is sealed.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the tree was tampered with, [`StoreError::Unavailable`] when the database does not
    /// answer.
    pub async fn prove_inclusion(&self, position: u64, size: u64) -> Result<(Hash, Vec<Hash>), StoreError> {
        let index = position - 1;
        let ranges: Vec<_> = std::iter::once(index..position).chain(inclusion_path(index, size)).collect();
        let mut hashes = tiles::roots(&mut *self.inner.reads.acquire().await?, &ranges).await?;
        let leaf = hashes.remove(0);
        Ok((leaf, hashes))
    }

    /// The hashes that prove that the tree of `from` leaves is how the tree of `to` leaves began. `from` is no more than
    /// `to`, and that is sealed.
    ///
    /// # Errors
    /// As [`EventStore::prove_inclusion`].
    pub async fn prove_consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
        tiles::roots(&mut *self.inner.reads.acquire().await?, &consistency_path(from, to)).await
    }
}

impl Inner {
    fn audit_origin(&self) -> String {
        format!("capitune/{}", self.log_id.id)
    }

    pub(crate) async fn last_head(&self) -> Result<Option<SignedHead>, StoreError> {
        heads::last(&mut *self.reads.acquire().await?, &self.audit_origin()).await
    }

    pub(crate) async fn record_lost_head(&self, head: &SignedHead, kept_to: u64) -> Result<(), StoreError> {
        heads::insert_lost(&self.writes, head, kept_to).await
    }
}
