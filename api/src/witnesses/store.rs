//! Heads as objects: one each, named by its size and never written twice.

use event_store::audit::SignedHead;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Place, WitnessError};

/// Heads that are read back of one place, at most.
const READ: usize = 100;
const AT_ONCE: usize = 8;

impl From<object_store::Error> for WitnessError {
    fn from(error: object_store::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Keeps the head, unless it is kept already.
pub(super) async fn keep(place: &Place, head: &SignedHead) -> Result<(), WitnessError> {
    let Place::Store { store, prefix, .. } = place else { return Ok(()) };
    let name = heads_of(prefix, &head.head.origin).join(format!("{:020}", head.head.size));
    let note = head.note();
    // Where heads cannot be written twice by its own rules, this one is not either.
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(&name, note.clone().into(), options).await {
        Err(object_store::Error::AlreadyExists { .. }) => {
            let kept = store.get(&name).await?.bytes().await?;
            match kept == note.as_bytes() || says_the_same(&kept, head) {
                true => Ok(()),
                false => Err(WitnessError::Contradicted(head.head.size)),
            }
        }
        done => Ok(done.map(drop)?),
    }
}

/// Whether what is kept is a head of the same history, signed at another time.
fn says_the_same(kept: &[u8], head: &SignedHead) -> bool {
    let kept = std::str::from_utf8(kept).ok().and_then(|note| note.parse::<SignedHead>().ok());
    kept.is_some_and(|kept| kept.head.root == head.head.root)
}

/// The heads of a log that a place keeps: the newest, and others all along its history.
///
/// # Errors
/// [`WitnessError::Refused`] when the place does not answer or holds something else.
pub async fn kept_heads(place: &Place, origin: &str) -> Result<Vec<SignedHead>, WitnessError> {
    let Place::Store { store, prefix, .. } = place else { return Ok(Vec::new()) };
    let listed = store.list(Some(&heads_of(prefix, origin)));
    let mut names: Vec<Path> = listed.map_ok(|object| object.location).try_collect().await?;
    names.sort_unstable();
    let step = names.len().div_ceil(READ).max(1);
    let chosen: Vec<Path> = names.into_iter().rev().step_by(step).collect();
    stream::iter(chosen).map(|name| read(store.as_ref(), name)).buffered(AT_ONCE).try_collect().await
}

async fn read(store: &dyn ObjectStore, name: Path) -> Result<SignedHead, WitnessError> {
    let bytes = store.get(&name).await?.bytes().await?;
    let told = |reason: String| WitnessError::Refused(format!("{name} is no head: {reason}"));
    let note = std::str::from_utf8(&bytes).map_err(|error| told(error.to_string()))?;
    note.parse().map_err(|error: event_store::audit::NotAHead| told(error.to_string()))
}

fn heads_of(prefix: &Path, origin: &str) -> Path {
    origin.split('/').chain(["heads"]).fold(prefix.clone(), |path, part| path.join(part))
}
