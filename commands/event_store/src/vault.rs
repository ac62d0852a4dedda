//! The vault: one data key per person, wrapped by the master key, and the keyed hashes that look-ups use.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use domain::personal::CLEAR;
use moka::sync::Cache;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::PgPool;
use uuid::Uuid;

use crate::seal::{self, Found, Marked, Sealed};
use crate::{Database, Erasures, StoreError, StreamId};

const CACHED_KEYS: u64 = 100_000;
/// How long a process may go on with a key that was erased by another.
const KEY_LIFETIME: Duration = Duration::from_secs(5);

/// Data keys that one round of wrapping anew takes up.
const REWRAPPED_AT_ONCE: i64 = 500;

/// The key that wraps every person's data key, and those that it replaces. Kept outside the database.
#[derive(Clone)]
pub struct MasterKey {
    key: Arc<LessSafeKey>,
    accepted: Vec<Arc<LessSafeKey>>,
}

impl MasterKey {
    /// From its 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self { key: Arc::new(aead_key(bytes)), accepted: Vec::new() }
    }

    /// Accepts also what another master key has wrapped, while one replaces the other.
    pub fn accepting(mut self, bytes: &[u8; 32]) -> Self {
        self.accepted.push(Arc::new(aead_key(bytes)));
        self
    }

    fn wrap(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let refused = |_| StoreError::Vault("a key could not be wrapped".to_owned());
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(refused)?;
        let mut bytes = secret.to_vec();
        let aad = Aad::from(name.as_bytes());
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes).map_err(refused)?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<[u8; 32], StoreError> {
        let refused = || StoreError::Vault("the master key is not the one this log was started with".to_owned());
        let keys = std::iter::once(&self.key).chain(&self.accepted);
        keys.filter_map(|key| unwrap(key, name, wrapped)).next().ok_or_else(refused)
    }

    /// What another key wrapped, wrapped by the first; nothing when that is done.
    fn rewrap(&self, name: &str, wrapped: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if unwrap(&self.key, name, wrapped).is_some() {
            return Ok(None);
        }
        self.wrap(name, &self.unwrap(name, wrapped)?).map(Some)
    }
}

fn unwrap(key: &LessSafeKey, name: &str, wrapped: &[u8]) -> Option<[u8; 32]> {
    let mut wrapped = wrapped.to_vec();
    let (nonce, bytes) = wrapped.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let clear = key.open_in_place(nonce, Aad::from(name.as_bytes()), bytes).ok()?;
    <[u8; 32]>::try_from(&*clear).ok()
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
    erasures: Erasures,
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
            erasures: Erasures::default(),
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

    /// Destroys the person's data key and leaves a tombstone that nothing undoes: what was sealed for them never opens
    /// again, here at once and in every other process within five seconds, and nothing more is sealed for them.
    /// Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn erase(&self, person: Uuid) -> Result<(), StoreError> {
        sqlx::query(
            "with erased as (
                 insert into person_keys (person_id, erased_at) values ($1, clock_timestamp())
                 on conflict (person_id) do update
                 set wrapped_key = null, erased_at = clock_timestamp() where person_keys.erased_at is null
                 returning person_id)
             update log_identity set erasures = erasures + 1 where exists (select from erased)",
        )
        .bind(person)
        .execute(&self.writes)
        .await?;
        self.note_erased(&[person]);
        Ok(())
    }

    /// Drops the keys of those who were erased, here or elsewhere, and lets everybody in this process know.
    pub(crate) fn note_erased(&self, persons: &[Uuid]) {
        for person in persons {
            self.keys.insert(*person, PersonKey::Erased);
        }
        self.erasures.note(persons);
    }

    /// Drops the keys in memory: after a loss of the log's tail, the database may hold others or none.
    pub(crate) fn forget_keys(&self) {
        self.keys.invalidate_all();
    }

    /// Who was erased lately.
    pub fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    /// Wraps everything by the first master key that another wraps still, and tells how far it is: keys looked at, keys
    /// in all. Can be interrupted and begun again at any time; no event is touched.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when none of the master keys opens a key, [`StoreError::Unavailable`] when the database
    /// does not answer.
    pub async fn rewrap(&self, progress: impl Fn(u64, u64)) -> Result<u64, StoreError> {
        let count = "select count(*) from person_keys where wrapped_key is not null";
        let total: i64 = sqlx::query_scalar(count).fetch_one(&self.reads).await?;
        let (mut done, mut rewrapped, mut after) = (0, self.rewrap_secret().await?, Uuid::nil());
        loop {
            let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
                "select person_id, wrapped_key from person_keys where wrapped_key is not null and person_id > $1
                 order by person_id limit $2",
            )
            .bind(after)
            .bind(REWRAPPED_AT_ONCE)
            .fetch_all(&self.reads)
            .await?;
            let Some((last, _)) = rows.last() else { return Ok(rewrapped) };
            after = *last;
            done += rows.len() as u64;
            rewrapped += self.rewrap_persons(&rows).await?;
            progress(done, total.cast_unsigned().max(done));
        }
    }

    async fn rewrap_secret(&self) -> Result<u64, StoreError> {
        let wrapped: Vec<u8> =
            sqlx::query_scalar("select wrapped_secret from log_identity").fetch_one(&self.reads).await?;
        let Some(fresh) = self.master.rewrap("secret", &wrapped)? else { return Ok(0) };
        let update = "update log_identity set wrapped_secret = $1 where wrapped_secret = $2";
        let updated = sqlx::query(update).bind(fresh).bind(wrapped).execute(&self.writes).await?;
        Ok(updated.rows_affected())
    }

    async fn rewrap_persons(&self, rows: &[(Uuid, Vec<u8>)]) -> Result<u64, StoreError> {
        let (mut persons, mut old, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for (person, wrapped) in rows {
            if let Some(rewrapped) = self.master.rewrap(&person.to_string(), wrapped)? {
                persons.push(*person);
                old.push(wrapped);
                fresh.push(rewrapped);
            }
        }
        if persons.is_empty() {
            return Ok(0);
        }
        // Who was erased meanwhile stays erased.
        let updated = sqlx::query(
            "update person_keys k set wrapped_key = r.fresh
             from unnest($1::uuid[], $2::bytea[], $3::bytea[]) as r (person, old, fresh)
             where k.person_id = r.person and k.wrapped_key = r.old",
        )
        .bind(persons)
        .bind(old)
        .bind(fresh)
        .execute(&self.writes)
        .await?;
        Ok(updated.rows_affected())
    }

    /// Seals every clear personal value in a JSON text, and tells whose they are.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when one of the persons has no key, [`StoreError::Unavailable`] when keys cannot be read.
    pub async fn seal(&self, stream: StreamId, json: &str) -> Result<(String, Vec<Uuid>), StoreError> {
        let values = seal::personal_values(json);
        let keys = self.keys_of(persons(&values)).await?;
        let sealed = seal::replace(json, &values, |sealed, value| {
            let Marked::Clear(clear) = &value.marked else { return Ok(false) };
            let erased = || StoreError::Vault(format!("person {} was erased", clear.of));
            let key = keys.get(clear.of).ok_or_else(erased)?;
            seal::seal(key, stream, &value.pointer, clear, sealed)?;
            Ok(true)
        })?;
        Ok((sealed, keys.persons()))
    }

    /// Opens every sealed value of a stored payload, for decoding: clear where there is a key, erased where not; and
    /// tells whose they are.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when a value does not open or stands where it was not sealed.
    pub async fn open_payload(&self, stream: StreamId, json: &str) -> Result<(String, Vec<Uuid>), StoreError> {
        let values = seal::personal_values(json);
        let keys = self.keys_of(persons(&values)).await?;
        let opened = seal::replace(json, &values, |opened, value| {
            let Marked::Sealed(sealed) = &value.marked else { return Ok(false) };
            if !sealed.stands_at(&value.pointer) {
                return Err(StoreError::Vault(format!("a sealed value was moved to {}", value.pointer)));
            }
            let clear = keys.open(stream, sealed)?;
            let _ = write!(opened, "{{\"{CLEAR}\":{clear},\"of\":\"{}\"}}", sealed.of);
            Ok(true)
        })?;
        Ok((opened, keys.persons()))
    }

    /// Replaces every personal value by what a reader sees: the plain value, or null where its person was erased.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when a value does not open, [`StoreError::Unavailable`] when keys cannot be read.
    pub async fn reveal<T: Serialize>(&self, documents: &[(StreamId, T)]) -> Result<Vec<Box<RawValue>>, StoreError> {
        let texts = documents.iter().map(|(stream, document)| Ok((*stream, serde_json::to_string(document)?)));
        let texts: Vec<(StreamId, String)> = texts.collect::<Result<_, serde_json::Error>>().map_err(not_json)?;
        let values: Vec<_> = texts.iter().map(|(_, json)| seal::personal_values(json)).collect();
        let keys = self.keys_of(values.iter().flat_map(|values| persons(values))).await?;
        let revealed = texts.iter().zip(&values).map(|((stream, json), values)| {
            let revealed = seal::replace(json, values, |revealed, value| {
                match &value.marked {
                    Marked::Sealed(sealed) => revealed.push_str(&keys.open(*stream, sealed)?),
                    Marked::Clear(clear) => revealed.push_str(clear.value.get()),
                }
                Ok(true)
            })?;
            RawValue::from_string(revealed).map_err(not_json)
        });
        revealed.collect()
    }

    /// [`Vault::reveal`] for values that are read on instead of being answered as they are.
    ///
    /// # Errors
    /// As [`Vault::reveal`]; [`StoreError::Broken`] when a value is not of the type.
    pub async fn reveal_as<T: Serialize, R: DeserializeOwned>(
        &self,
        documents: &[(StreamId, T)],
    ) -> Result<Vec<R>, StoreError> {
        let revealed = self.reveal(documents).await?;
        revealed.iter().map(|document| serde_json::from_str(document.get()).map_err(not_json)).collect()
    }

    /// The keys of these persons, from the cache or the database.
    async fn keys_of(&self, persons: impl Iterator<Item = Uuid>) -> Result<PersonKeys, StoreError> {
        let mut persons: Vec<Uuid> = persons.collect();
        persons.sort_unstable();
        persons.dedup();
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
    fn persons(&self) -> Vec<Uuid> {
        self.0.iter().map(|(person, _)| *person).collect()
    }

    fn get(&self, person: Uuid) -> Option<&LessSafeKey> {
        let index = self.0.binary_search_by_key(&person, |(person, _)| *person).ok()?;
        match &self.0[index].1 {
            PersonKey::Key(key) => Some(key),
            PersonKey::Erased => None,
        }
    }

    /// What a sealed value says as JSON, null when its person was erased.
    fn open(&self, stream: StreamId, sealed: &Sealed<'_>) -> Result<String, StoreError> {
        self.get(sealed.of).map_or(Ok("null".to_owned()), |key| sealed.open(key, stream))
    }
}

/// Whose values these are.
fn persons(values: &[Found<'_>]) -> impl Iterator<Item = Uuid> {
    values.iter().map(|value| value.marked.of())
}

fn not_json(error: serde_json::Error) -> StoreError {
    StoreError::Broken(error.to_string())
}
