//! Pages: their length, and the sealed cursor that leads to the next.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_store::Vault;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::problem::{Problem, codes};

const DEFAULT_LIMIT: u32 = 20;
const MOST: u32 = 100;
const TAG: usize = 16;
/// No cursor of ours is longer.
const LONGEST: usize = 2048;

/// How many items a page has, from 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| digits && (1..=MOST).contains(limit));
        limit.map(Self).ok_or_else(|| D::Error::custom("expected a limit from 1 to 100"))
    }
}

/// Which part of a list to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Items on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    pub limit: Limit,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// What `cursor` must be for the next page; null after the last.
    pub next_cursor: Option<String>,
}

/// Seals and opens the cursors of one list, as one caller asked for it: they are good for nothing else.
pub struct Cursor<'a> {
    vault: &'a Vault,
    list: Vec<u8>,
}

impl<'a> Cursor<'a> {
    /// The cursors of the list `name`, narrowed by `filter`, for `caller`.
    pub fn of(vault: &'a Vault, name: &str, filter: &impl Serialize, caller: Uuid) -> Self {
        let list = serde_json::to_vec(&(name, filter, caller)).unwrap_or_default();
        Self { vault, list }
    }

    /// The cursor that leads on from `place`.
    pub fn seal(&self, place: &impl Serialize) -> String {
        let mut bytes = serde_json::to_vec(place).unwrap_or_default();
        let tag = self.tag(&bytes);
        bytes.extend(tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where a client's cursor leads on from.
    ///
    /// # Errors
    /// A 422 when it was not sealed for this list and caller.
    pub fn open<P: DeserializeOwned>(&self, cursor: &str) -> Result<P, Problem> {
        let invalid = || Problem::new(&codes::CURSOR_INVALID).with_parameter("cursor", "does not belong to this list");
        if cursor.len() > LONGEST {
            return Err(invalid());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
        let split = bytes.len().checked_sub(TAG).ok_or_else(invalid)?;
        let (place, tag) = bytes.split_at(split);
        if !same(tag, &self.tag(place)) {
            return Err(invalid());
        }
        serde_json::from_slice(place).map_err(|_| invalid())
    }

    fn tag(&self, place: &[u8]) -> [u8; TAG] {
        let length = (self.list.len() as u64).to_be_bytes();
        let sealed = [length.as_slice(), &self.list, place].concat();
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.vault.keyed_hash("cursor", &sealed)[..TAG]);
        tag
    }
}

/// Compares without telling by its duration where two tags differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_from_1_to_100() {
        let read = |text: &str| serde_json::from_value::<Limit>(text.into()).ok();
        assert_eq!(read("1"), Some(Limit(1)));
        assert_eq!(read("100"), Some(Limit(100)));
        for text in ["0", "101", "-1", "+5", "1000000000", "", "x", "1.5"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn tags_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
    }
}
