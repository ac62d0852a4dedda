//! Sealing JSON: every clear personal value becomes a sealed one, bound to its person, its stream and its place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use domain::personal::{CLEAR, SEALED};
use rand::Rng;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{StoreError, StreamId};

/// Where a sealed value stands in the payload it was sealed in, kept beside it so that a read model can open it too.
const AT: &str = "at";

/// Calls `visit` on every marked personal object below `value`, with its JSON pointer and its person.
pub(crate) fn each_personal<E>(
    value: &mut Value,
    pointer: &mut String,
    visit: &mut impl FnMut(&mut Value, &str, Uuid) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(person) = person_of(value) {
        return visit(value, pointer, person);
    }
    let length = pointer.len();
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                pointer.push('/');
                pointer.push_str(key);
                each_personal(child, pointer, visit)?;
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (number, child) in items.iter_mut().enumerate() {
                pointer.push('/');
                pointer.push_str(&number.to_string());
                each_personal(child, pointer, visit)?;
                pointer.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn person_of(value: &Value) -> Option<Uuid> {
    let map = value.as_object()?;
    if !map.contains_key(CLEAR) && !map.contains_key(SEALED) {
        return None;
    }
    map.get("of")?.as_str()?.parse().ok()
}

fn associated_data(stream: StreamId, person: Uuid, pointer: &str) -> Vec<u8> {
    format!("{}/{}{pointer} of {person}", stream.aggregate_type, stream.id).into_bytes()
}

/// Replaces a clear personal value by its sealed form.
pub(crate) fn seal(
    key: &LessSafeKey,
    stream: StreamId,
    person: Uuid,
    pointer: &str,
    value: &mut Value,
) -> Result<(), StoreError> {
    let refused = |_| StoreError::Vault("a value could not be sealed".to_owned());
    let mut bytes = value.get(CLEAR).unwrap_or(&Value::Null).to_string().into_bytes();
    let nonce: [u8; NONCE_LEN] = rand::rng().random();
    let aad = Aad::from(associated_data(stream, person, pointer));
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes).map_err(refused)?;
    let sealed = [nonce.as_slice(), &bytes].concat();
    *value = json!({ SEALED: BASE64.encode(sealed), "of": person, AT: pointer });
    Ok(())
}

/// The clear value of a sealed one.
pub(crate) fn open(key: &LessSafeKey, stream: StreamId, person: Uuid, value: &Value) -> Result<Value, StoreError> {
    let refused = || StoreError::Vault(format!("a value of {} {} does not open", stream.aggregate_type, stream.id));
    let pointer = value.get(AT).and_then(Value::as_str).ok_or_else(refused)?;
    let sealed = value.get(SEALED).and_then(Value::as_str).ok_or_else(refused)?;
    let mut sealed = BASE64.decode(sealed).map_err(|_| refused())?;
    let (nonce, bytes) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(refused)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
    let aad = Aad::from(associated_data(stream, person, pointer));
    let clear = key.open_in_place(nonce, aad, bytes).map_err(|_| refused())?;
    serde_json::from_slice(clear).map_err(|_| refused())
}

/// Whether a sealed value stands where it was sealed.
pub(crate) fn stands_at(value: &Value, pointer: &str) -> bool {
    value.get(AT).and_then(Value::as_str) == Some(pointer)
}
