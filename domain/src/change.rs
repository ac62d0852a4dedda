//! [`Change`]: what a value was and what it became.

use serde::{Deserialize, Serialize};

/// One value that an edit changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change<T> {
    /// What it was.
    pub from: T,
    /// What it became.
    pub to: T,
}

impl<T: Clone + PartialEq> Change<T> {
    /// The change from `old` to `new`, if there is one.
    pub fn between(old: &T, new: T) -> Option<Self> {
        (*old != new).then(|| Self { from: old.clone(), to: new })
    }
}
