//! The vault: one data key per person, wrapped by the master key, and the keyed hashes that look-ups use.

use std::sync::Arc;
use std::time::Duration;

use domain::EventEnvelope;
use domain::personal::{CLEAR, SEALED};
use moka::sync::Cache;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{Database, StoreError, StreamId, seal};

const CACHED_KEYS: u64 = 100_000;
/// How long a process may go on with a key that was erased by another.
const KEY_LIFETIME: Duration = Duration::from_secs(5);

/// The key that wraps every person's data key. Kept outside the database.
#[derive(Clone)]
pub struct MasterKey(Arc<LessSafeKey>);

impl MasterKey {
    /// From its 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(aead_key(bytes)))
    }

    fn wrap(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let refused = |_| StoreError::Vault("a key could not be wrapped".to_owned());
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(refused)?;
        let mut bytes = secret.to_vec();
        let aad = Aad::from(name.as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes).map_err(refused)?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<[u8; 32], StoreError> {
        let refused = || StoreError::Vault("the master key is not the one this log was started with".to_owned());
        let mut wrapped = wrapped.to_vec();
        let (nonce, bytes) = wrapped.split_at_mut_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let clear = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), bytes).map_err(|_| refused())?;
        <[u8; 32]>::try_from(&*clear).map_err(|_| refused())
    }
}

fn aead_key(bytes: &[u8; 32]) -> LessSafeKey {
    #[expect(clippy::expect_used, reason = "the array's type has the key's length")]
    let key = UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are an AES-256 key");
    LessSafeKey::new(key)
}

fn random_key() -> Result<[u8; 32], StoreError> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StoreError::Vault("the system gives no randomness".to_owned()))?;
    Ok(bytes)
}

/// A person's data key, or the knowledge that there is none any more.
#[derive(Clone)]
enum PersonKey {
    Key(Arc<LessSafeKey>),
    Erased,
}

/// Seals and opens personal values.
pub struct Vault {
    reads: PgPool,
    writes: PgPool,
    master: MasterKey,
    secret: hmac::Key,
    keys: Cache<Uuid, PersonKey>,
}

impl Vault {
    pub(crate) async fn open(database: &Database, master: MasterKey) -> Result<Self, StoreError> {
        // The first process to start writes the secret; everyone reads back the one that stands.
        let fresh = master.wrap("secret", &random_key()?)?;
        let wrapped: Vec<u8> = sqlx::query_scalar(
            "update log_identity set wrapped_secret = coalesce(wrapped_secret, $1) returning wrapped_secret",
        )
        .bind(fresh)
        .fetch_one(&database.writes)
        .await?;
        let secret = master.unwrap("secret", &wrapped)?;
        Ok(Self {
            reads: database.reads.clone(),
            writes: database.writes.clone(),
            master,
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            keys: Cache::builder().max_capacity(CACHED_KEYS).time_to_live(KEY_LIFETIME).build(),
        })
    }

    /// A hash that only this instance can compute, for look-ups of personal values; `purpose` keeps kinds apart.
    pub fn keyed_hash(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(value);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }

    /// Makes the person's data key unless there is one. Idempotent, so that it can be written before the event that
    /// needs it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn create_key(&self, person: Uuid) -> Result<(), StoreError> {
        let wrapped = self.master.wrap(&person.to_string(), &random_key()?)?;
        sqlx::query("insert into person_keys (person_id, wrapped_key) values ($1, $2) on conflict do nothing")
            .bind(person)
            .bind(wrapped)
            .execute(&self.writes)
            .await?;
        self.keys.invalidate(&person);
        Ok(())
    }

    /// Seals every clear personal value in `payload` and returns whose they are.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when one of the persons has no key, [`StoreError::Unavailable`] when keys cannot be read.
    pub async fn seal(&self, stream: StreamId, payload: &mut Value) -> Result<Vec<Uuid>, StoreError> {
        let keys = self.keys_of(persons_in([&mut *payload])).await?;
        seal::each_personal(payload, &mut String::new(), &mut |value, pointer, person| {
            if value.get(SEALED).is_some() {
                return Ok(());
            }
            let key = keys.get(person).ok_or_else(|| StoreError::Vault(format!("person {person} was erased")))?;
            seal::seal(key, stream, person, pointer, value)
        })?;
        Ok(keys.0.into_iter().map(|(person, _)| person).collect())
    }

    /// Opens every sealed value of a stored payload, for decoding: clear where there is a key, erased where not.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when a value does not open or stands where it was not sealed.
    pub async fn open_payload(&self, stream: StreamId, payload: &mut Value) -> Result<(), StoreError> {
        let keys = self.keys_of(persons_in([&mut *payload])).await?;
        seal::each_personal(payload, &mut String::new(), &mut |value, pointer, person| {
            if value.get(SEALED).is_none() {
                return Ok(());
            }
            if !seal::stands_at(value, pointer) {
                return Err(StoreError::Vault(format!("a sealed value was moved to {pointer}")));
            }
            let clear = keys.open(stream, person, value)?;
            *value = json!({ CLEAR: clear, "of": person });
            Ok(())
        })
    }

    /// Replaces every personal value by what a reader sees: the plain value, or null where its person was erased.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when a value does not open, [`StoreError::Unavailable`] when keys cannot be read.
    pub async fn reveal(&self, documents: &mut [(StreamId, Value)]) -> Result<(), StoreError> {
        let keys = self.keys_of(persons_in(documents.iter_mut().map(|(_, document)| document))).await?;
        for (stream, document) in documents {
            seal::each_personal(document, &mut String::new(), &mut |value, _, person| {
                *value = match value.get(SEALED) {
                    Some(_) => keys.open(*stream, person, value)?,
                    None => value.get(CLEAR).cloned().unwrap_or_default(),
                };
                Ok::<(), StoreError>(())
            })?;
        }
        Ok(())
    }

    /// [`Vault::reveal`] for the payload of one event.
    ///
    /// # Errors
    /// As [`Vault::reveal`].
    pub async fn reveal_event(&self, stream: StreamId, event: &EventEnvelope) -> Result<Value, StoreError> {
        let payload = serde_json::from_str(event.payload.get());
        let payload: Value = payload.map_err(|_| StoreError::Broken(format!("{} is not JSON", event.position)))?;
        let mut documents = [(stream, payload)];
        self.reveal(&mut documents).await?;
        let [(_, payload)] = documents;
        Ok(payload)
    }

    /// The keys of these persons, who are sorted and named once, from the cache or the database.
    async fn keys_of(&self, persons: Vec<Uuid>) -> Result<PersonKeys, StoreError> {
        let cached: Vec<Option<PersonKey>> = persons.iter().map(|person| self.keys.get(person)).collect();
        if cached.iter().any(Option::is_none) {
            return self.load(persons).await;
        }
        Ok(PersonKeys(persons.into_iter().zip(cached.into_iter().flatten()).collect()))
    }

    async fn load(&self, persons: Vec<Uuid>) -> Result<PersonKeys, StoreError> {
        let rows: Vec<(Uuid, Option<Vec<u8>>)> = sqlx::query_as(
            "select person_id, wrapped_key from person_keys where person_id = any($1) order by person_id",
        )
        .bind(&persons)
        .fetch_all(&self.reads)
        .await?;
        if rows.len() < persons.len() {
            return Err(StoreError::Vault("a person has no key".to_owned()));
        }
        let mut keys = Vec::with_capacity(rows.len());
        for (person, wrapped) in rows {
            let key = match wrapped {
                Some(wrapped) => {
                    let bytes = self.master.unwrap(&person.to_string(), &wrapped)?;
                    PersonKey::Key(Arc::new(aead_key(&bytes)))
                }
                None => PersonKey::Erased,
            };
            self.keys.insert(person, key.clone());
            keys.push((person, key));
        }
        Ok(PersonKeys(keys))
    }
}

/// The keys of the persons in a document, by person.
struct PersonKeys(Vec<(Uuid, PersonKey)>);

impl PersonKeys {
    fn get(&self, person: Uuid) -> Option<&LessSafeKey> {
        let index = self.0.binary_search_by_key(&person, |(person, _)| *person).ok()?;
        match &self.0[index].1 {
            PersonKey::Key(key) => Some(key),
            PersonKey::Erased => None,
        }
    }

    /// What a sealed value says, or nothing when its person was erased.
    fn open(&self, stream: StreamId, person: Uuid, value: &Value) -> Result<Value, StoreError> {
        self.get(person).map_or(Ok(Value::Null), |key| seal::open(key, stream, person, value))
    }
}

/// Whose personal values stand in the documents, sorted.
fn persons_in<'a>(documents: impl IntoIterator<Item = &'a mut Value>) -> Vec<Uuid> {
    let mut persons = Vec::new();
    for document in documents {
        let _: Result<(), ()> = seal::each_personal(document, &mut String::new(), &mut |_, _, person| {
            persons.push(person);
            Ok(())
        });
    }
    persons.sort_unstable();
    persons.dedup();
    persons
}
