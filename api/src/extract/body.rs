//! A body as strict JSON: bounded in size and time, no duplicate keys, no NUL, no unknown field.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use domain::FieldError;
use http_body_util::LengthLimitError;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::fault::{Fault, escape, fault};
use crate::problem::{Problem, codes};

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// A 413 for a longer one, a 408 for one that does not arrive, a 400 for one that breaks off.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let read = timeout(PATIENCE, axum::body::to_bytes(body, limit));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let error = error.into_inner();
            Err(if error.is::<LengthLimitError>() { too_large(limit) } else { broken_off() })
        }
        Err(_) => Err(Problem::new(&codes::BODY_TIMEOUT)),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(&codes::BODY_TOO_LARGE).with_detail(
        format!("the body may have at most {limit} bytes"),
        format!("le corps peut avoir au plus {limit} octets"),
    )
}

fn broken_off() -> Problem {
    Problem::new(&codes::BODY_MALFORMED).with_detail("the body broke off", "le corps s'est interrompu")
}

/// Reads a body as `T`; an empty one as an object without fields.
///
/// # Errors
/// A 415 when it is not declared as JSON, a 400 when it is not JSON, a 422 when it is not a `T`.
pub fn strict_json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let value = if body.is_empty() {
        Value::Object(Map::new())
    } else {
        check_media_type(headers)?;
        parse(body)?
    };
    if !value.is_object() {
        return Err(invalid(FieldError::new("", "field.invalid", "must be an object")));
    }
    if let Some(pointer) = nul(&value) {
        return Err(invalid(FieldError::new(pointer, "field.nul", "must not hold the NUL character")));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (fault, field) = fault(error.path(), &error.inner().to_string());
        let code = match fault {
            Fault::Unknown => &codes::FIELD_UNKNOWN,
            Fault::Missing => &codes::FIELD_REQUIRED,
            Fault::Invalid => &codes::FIELD_INVALID,
        };
        Problem::new(code).with_errors(vec![field])
    })
}

/// For serde: tells `null` from absent.
///
/// # Errors
/// When the value is no `T`.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn invalid(field: FieldError) -> Problem {
    Problem::new(&codes::FIELD_INVALID).with_errors(vec![field])
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map_or(Some(""), |value| value.to_str().ok());
    let (media_type, encoding) = (text(CONTENT_TYPE).unwrap_or_default(), text(CONTENT_ENCODING));
    let mut parts = media_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.filter(|part| !part.is_empty()).all(|parameter| {
        let charset = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
        charset.is_some_and(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
    });
    let single = headers.get_all(CONTENT_TYPE).iter().count() == 1;
    let plain = encoding.is_some_and(|encoding| encoding.is_empty() || encoding == "identity");
    if json && utf8 && single && plain { Ok(()) } else { Err(Problem::new(&codes::BODY_UNSUPPORTED_MEDIA_TYPE)) }
}

fn parse(body: &[u8]) -> Result<Value, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = StrictValue.deserialize(&mut deserializer);
    value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::new(&codes::BODY_MALFORMED).with_detail(
            format!("the body is not well-formed JSON at line {line}, column {column}"),
            format!("le corps n'est pas du JSON bien formé à la ligne {line}, colonne {column}"),
        )
    })
}

/// Where the first NUL is, which Postgres cannot keep.
fn nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| nul(item).map(|rest| format!("/{index}{rest}")))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            nul(member).map(|rest| format!("/{}{rest}", escape(name)))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Any JSON value, but for objects that name a key twice. serde_json bounds the depth.
struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without duplicate keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(StrictValue)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(StrictValue)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests;
