//! [`Personal<T>`]: a value that belongs to a person and may never reach a disk in clear.
//!
//! In memory a value is clear, or sealed when its reader has no business with it, or erased. As JSON it is an
//! object with one of two marks: [`CLEAR`] before the store's edge has sealed it, [`SEALED`] after.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
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

#[derive(Clone, PartialEq)]
enum Content<T> {
    Clear(T),
    Sealed(Box<Value>),
    Erased,
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
        match &self.content {
            Content::Clear(value) => json!({ CLEAR: value, "of": self.of }).serialize(serializer),
            Content::Sealed(sealed) => sealed.serialize(serializer),
            Content::Erased => json!({ CLEAR: null, "of": self.of }).serialize(serializer),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let of = value.get("of").and_then(Value::as_str).and_then(|of| of.parse().ok());
        let of = of.ok_or_else(|| D::Error::custom("a personal value names its person"))?;
        if value.get(SEALED).is_some() {
            return Ok(Self { of, content: Content::Sealed(Box::new(value)) });
        }
        let content = match value.get_mut(CLEAR).map(Value::take) {
            Some(Value::Null) => Content::Erased,
            Some(clear) => Content::Clear(serde_json::from_value(clear).map_err(D::Error::custom)?),
            None => return Err(D::Error::custom("a personal value is clear, sealed or erased")),
        };
        Ok(Self { of, content })
    }
}

#[cfg(test)]
mod tests {
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
