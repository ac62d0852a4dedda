//! [`Personal<T>`]: a value that belongs to a person and may never reach a disk in clear.
//!
//! In memory a value is clear, or sealed when its reader has no business with it, or erased. As JSON it is an
//! object with one of two marks: [`CLEAR`] before the store's edge has sealed it, [`SEALED`] after.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The key that marks a clear value in JSON; the store's edge lets none pass.
pub const CLEAR: &str = "$personal";
/// The key that marks a sealed value in JSON.
pub const SEALED: &str = "$sealed";

/// A value that belongs to the person `of`.
#[derive(Clone, PartialEq)]
pub struct Personal<T> {
    of: Uuid,
    content: Content<T>,
}

#[derive(Clone)]
enum Content<T> {
    Clear(T),
    /// The marked object as it stands in JSON.
    Sealed(Box<RawValue>),
    Erased,
}

impl<T: PartialEq> PartialEq for Content<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Clear(one), Self::Clear(other)) => one == other,
            (Self::Sealed(one), Self::Sealed(other)) => one.get() == other.get(),
            (Self::Erased, Self::Erased) => true,
            _ => false,
        }
    }
}

impl<T> Personal<T> {
    /// A clear value that belongs to `of`.
    pub fn new(of: Uuid, value: T) -> Self {
        Self { of, content: Content::Clear(value) }
    }

    /// The person it belongs to.
    pub fn of(&self) -> Uuid {
        self.of
    }

    /// The value, unless it is sealed or erased.
    pub fn get(&self) -> Option<&T> {
        match &self.content {
            Content::Clear(value) => Some(value),
            Content::Sealed(_) | Content::Erased => None,
        }
    }
}

// Redacted, so that no log line can carry a person's data.
impl<T> std::fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.content {
            Content::Clear(_) => "clear",
            Content::Sealed(_) => "sealed",
            Content::Erased => "erased",
        };
        write!(f, "Personal({state}, of {})", self.of)
    }
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match &self.content {
            Content::Clear(value) => Some(value),
            Content::Sealed(sealed) => return sealed.serialize(serializer),
            Content::Erased => None,
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(CLEAR, &value)?;
        map.serialize_entry("of", &self.of)?;
        map.end()
    }
}

/// The marks, whichever there are.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow, rename = "$personal")]
    clear: Option<&'a RawValue>,
    #[serde(borrow, rename = "$sealed")]
    sealed: Option<&'a RawValue>,
    of: Uuid,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Box::<RawValue>::deserialize(deserializer)?;
        let Marks { clear, sealed, of } = serde_json::from_str(object.get()).map_err(D::Error::custom)?;
        let content = match (clear, sealed) {
            (None, None) if !object.get().contains(CLEAR) => {
                return Err(D::Error::custom("a personal value is clear, sealed or erased"));
            }
            (None, None) => Content::Erased,
            (Some(clear), _) => Content::Clear(serde_json::from_str(clear.get()).map_err(D::Error::custom)?),
            (None, Some(_)) => Content::Sealed(object),
        };
        Ok(Self { of, content })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clear_value_survives_a_round_trip() {
        let name = Personal::new(Uuid::from_u128(7), "Ada".to_owned());
        let json = serde_json::to_value(&name).unwrap();
        assert_eq!(json[CLEAR], "Ada");
        assert_eq!(serde_json::from_value::<Personal<String>>(json).unwrap(), name);
    }

    #[test]
    fn a_sealed_value_is_carried_untouched() {
        let json = json!({ SEALED: "b64", "of": Uuid::from_u128(7), "at": "/Created/name" });
        let name: Personal<String> = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(name.get(), None);
        assert_eq!(serde_json::to_value(&name).unwrap(), json);
    }

    #[test]
    fn an_erased_value_reads_as_nothing() {
        let json = json!({ CLEAR: null, "of": Uuid::from_u128(7) });
        assert_eq!(serde_json::from_value::<Personal<String>>(json).unwrap().get(), None);
    }

    #[test]
    fn debug_never_shows_the_value() {
        assert!(!format!("{:?}", Personal::new(Uuid::nil(), "Ada")).contains("Ada"));
    }
}
