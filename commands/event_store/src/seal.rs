//! Sealing JSON text: every clear personal value becomes a sealed one, bound to its person, its stream and its place.
//!
//! Works on the text itself, because trees of values cost more than all the rest of a command.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use domain::personal::{CLEAR, SEALED};
use memchr::memchr2;
use rand::Rng;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{StoreError, StreamId};

/// A personal value in a document.
pub(crate) enum Marked<'a> {
    Clear(Clear<'a>),
    Sealed(Sealed<'a>),
}

/// As [`domain::Personal`] writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clear<'a> {
    /// The value as JSON.
    #[serde(borrow, rename = "$personal")]
    pub(crate) value: &'a RawValue,
    pub(crate) of: Uuid,
}

/// As it is stored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed<'a> {
    #[serde(borrow, rename = "$sealed")]
    value: Cow<'a, str>,
    /// Where the value stands in the payload it was sealed in, kept beside it so that a read model can open it too.
    #[serde(borrow)]
    at: Cow<'a, str>,
    pub(crate) of: Uuid,
}

impl Marked<'_> {
    pub(crate) fn of(&self) -> Uuid {
        match self {
            Self::Clear(clear) => clear.of,
            Self::Sealed(sealed) => sealed.of,
        }
    }
}

/// A personal value, and where it stands in its text.
pub(crate) struct Found<'a> {
    bytes: Range<usize>,
    /// JSON pointer.
    pub(crate) pointer: String,
    pub(crate) marked: Marked<'a>,
}

/// Every personal value of a JSON text that is known to be valid.
pub(crate) fn personal_values(json: &str) -> Vec<Found<'_>> {
    let mut scanner = Scanner { json, at: 0, pointer: String::new(), found: Vec::new() };
    if json.contains(CLEAR) || json.contains(SEALED) {
        scanner.value();
    }
    scanner.found
}

/// The text with each of its personal values replaced by what `replace` writes instead; false keeps it as it is.
pub(crate) fn replace<'a>(
    json: &'a str,
    values: &[Found<'a>],
    mut replace: impl FnMut(&mut String, &Found<'a>) -> Result<bool, StoreError>,
) -> Result<String, StoreError> {
    let mut replaced = String::with_capacity(json.len() * 2);
    let mut copied = 0;
    for value in values {
        let end = replaced.len();
        replaced.push_str(&json[copied..value.bytes.start]);
        if replace(&mut replaced, value)? {
            copied = value.bytes.end;
        } else {
            replaced.truncate(end);
        }
    }
    replaced.push_str(&json[copied..]);
    Ok(replaced)
}

struct Scanner<'a> {
    json: &'a str,
    at: usize,
    pointer: String,
    found: Vec<Found<'a>>,
}

impl<'a> Scanner<'a> {
    fn value(&mut self) {
        match self.peek() {
            Some(b'{') => match self.marked() {
                Some((end, marked)) => {
                    self.found.push(Found { bytes: self.at..end, pointer: self.pointer.clone(), marked });
                    self.at = end;
                }
                None => self.object(),
            },
            Some(b'[') => self.array(),
            Some(b'"') => {
                self.string();
            }
            _ => {
                let rest = &self.json.as_bytes()[self.at..];
                self.at += rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(rest.len());
            }
        }
    }

    fn object(&mut self) {
        self.at += 1;
        let length = self.pointer.len();
        while self.peek() == Some(b'"') {
            let key = self.string();
            self.pass(b':');
            self.pointer.push('/');
            self.pointer.push_str(&unescaped(key));
            self.value();
            self.pointer.truncate(length);
            self.pass(b',');
        }
        self.pass(b'}');
    }

    fn array(&mut self) {
        self.at += 1;
        let length = self.pointer.len();
        let mut number = 0;
        while !matches!(self.peek(), Some(b']') | None) {
            let _ = write!(self.pointer, "/{number}");
            self.value();
            self.pointer.truncate(length);
            self.pass(b',');
            number += 1;
        }
        self.pass(b']');
    }

    /// The personal value that begins here, and where it ends, if it is one.
    fn marked(&self) -> Option<(usize, Marked<'a>)> {
        let mut ahead = Scanner { json: self.json, at: self.at + 1, pointer: String::new(), found: Vec::new() };
        if ahead.peek() != Some(b'"') {
            return None;
        }
        let rest = &self.json[self.at..];
        let (length, marked) = match ahead.string() {
            CLEAR => first::<Clear<'_>>(rest).map(|(length, clear)| (length, Marked::Clear(clear))),
            SEALED | "at" | "of" => first::<Sealed<'_>>(rest).map(|(length, sealed)| (length, Marked::Sealed(sealed))),
            _ => None,
        }?;
        Some((self.at + length, marked))
    }

    /// What a string says between its quotes, escapes and all.
    fn string(&mut self) -> &'a str {
        let start = self.at + 1;
        let bytes = self.json.as_bytes();
        let mut end = start;
        while let Some(length) = memchr2(b'"', b'\\', &bytes[end.min(bytes.len())..]) {
            end += length;
            if bytes[end] == b'"' {
                break;
            }
            end += 2;
        }
        self.at = end + 1;
        &self.json[start..end]
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.json.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn pass(&mut self, byte: u8) {
        if self.peek() == Some(byte) {
            self.at += 1;
        }
    }
}

/// The first value of a text, and its length.
fn first<'a, T: Deserialize<'a>>(json: &'a str) -> Option<(usize, T)> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((values.byte_offset(), value))
}

fn unescaped(key: &str) -> Cow<'_, str> {
    if !key.contains('\\') {
        return Cow::Borrowed(key);
    }
    serde_json::from_str(&format!("\"{key}\"")).map_or(Cow::Borrowed(key), Cow::Owned)
}

fn associated_data(stream: StreamId, person: Uuid, pointer: &str) -> String {
    format!("{}/{}{pointer} of {person}", stream.aggregate_type, stream.id)
}

/// Writes the sealed form of a clear value.
pub(crate) fn seal(
    key: &LessSafeKey,
    stream: StreamId,
    pointer: &str,
    clear: &Clear<'_>,
    into: &mut String,
) -> Result<(), StoreError> {
    let refused = |_| StoreError::Vault("a value could not be sealed".to_owned());
    let nonce: [u8; NONCE_LEN] = rand::rng().random();
    let aad = Aad::from(associated_data(stream, clear.of, pointer));
    let mut sealed = [nonce.as_slice(), clear.value.get().as_bytes()].concat();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, aad, &mut sealed[NONCE_LEN..]).map_err(refused)?;
    sealed.extend_from_slice(tag.as_ref());
    let at = serde_json::to_string(pointer).map_err(|error| StoreError::Invalid(error.to_string()))?;
    into.push_str("{\"$sealed\":\"");
    BASE64.encode_string(sealed, into);
    let _ = write!(into, "\",\"at\":{at},\"of\":\"{}\"}}", clear.of);
    Ok(())
}

impl Sealed<'_> {
    /// The clear value as JSON.
    pub(crate) fn open(&self, key: &LessSafeKey, stream: StreamId) -> Result<String, StoreError> {
        let refused = || StoreError::Vault(format!("a value of {} {} does not open", stream.aggregate_type, stream.id));
        let mut sealed = BASE64.decode(self.value.as_bytes()).map_err(|_| refused())?;
        let (nonce, bytes) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let aad = Aad::from(associated_data(stream, self.of, &self.at));
        let clear = key.open_in_place(nonce, aad, bytes).map_err(|_| refused())?;
        String::from_utf8(clear.to_vec()).map_err(|_| refused())
    }

    /// Whether it stands where it was sealed.
    pub(crate) fn stands_at(&self, pointer: &str) -> bool {
        self.at == pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(7);

    fn found(json: &str) -> Vec<(String, String)> {
        let values = personal_values(json);
        values.iter().map(|value| (value.pointer.clone(), json[value.bytes.clone()].to_owned())).collect()
    }

    fn clear(value: &str) -> String {
        format!(r#"{{"$personal":{value},"of":"{ADA}"}}"#)
    }

    #[test]
    fn finds_values_wherever_they_stand() {
        let (name, list) = (clear(r#""a \" } quote""#), clear("[1,{\"of\":2}]"));
        let json = format!(r#"{{"at":"x","n":-1.5e3,"b":[ true, {name} ,[]],"k\u0041":{{"c":{list}}},"e":{{}}}}"#);
        assert_eq!(found(&json), [("/b/1".to_owned(), name), ("/kA/c".to_owned(), list)]);
        assert_eq!(found(&clear("null")), [(String::new(), clear("null"))]);
    }

    #[test]
    fn a_sealed_value_is_known_in_any_order_of_its_keys() {
        for json in [
            format!(r#"{{"$sealed":"x","at":"/a","of":"{ADA}"}}"#),
            format!(r#"{{"at": "/a", "of": "{ADA}", "$sealed": "x"}}"#),
        ] {
            assert_eq!(found(&format!("[{json}]")), [("/0".to_owned(), json)]);
        }
    }

    #[test]
    fn what_people_write_is_never_taken_for_a_mark() {
        let value = clear("1");
        for json in [
            r#"{"title":"{\"$personal\":1,\"of\":\"00000000-0000-0000-0000-000000000007\"}"}"#.to_owned(),
            format!(r#"{{"$personal":{value},"of":1}}"#),
            format!(r#"{{"$sealed":{value},"at":{value},"of":{value}}}"#),
        ] {
            let inner = found(&json);
            assert!(inner.iter().all(|(_, text)| *text == value), "{inner:?}");
            assert_eq!(inner.len(), json.matches(value.as_str()).count());
        }
    }

    #[test]
    fn replaces_what_it_is_told_to() {
        let json = format!(r#"{{"a":{},"b":{},"c":3}}"#, clear("1"), clear("2"));
        let replaced = replace(&json, &personal_values(&json), |out, value| {
            out.push_str("null");
            Ok(value.pointer == "/b")
        });
        assert_eq!(replaced.unwrap(), format!(r#"{{"a":{},"b":null,"c":3}}"#, clear("1")));
    }
}
