//! Second factors: one-time passwords by the clock (RFC 6238), and recovery codes for a lost device.

use chrono::Utc;
use event_store::{Database, StoreError, Vault};
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use totp_rs::{Builder, Totp};
use uuid::Uuid;

use super::opaque::{random, sealed, stream};
use crate::problem::{Problem, codes};

const ISSUER: &str = "Capitune";
/// Bytes of a secret, as RFC 4226 recommends.
const SECRET: usize = 20;
/// Seconds that a code is shown for.
const STEP: u64 = 30;
const RECOVERY_CODES: usize = 10;
/// Without letters and digits that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
const RECOVERY_LENGTH: usize = 12;

/// The second factors of an instance.
#[derive(Clone)]
pub struct SecondFactors {
    reads: PgPool,
    writes: PgPool,
}

/// What a device needs to make codes.
pub struct Enrolment {
    /// The secret, in base32.
    pub secret: String,
    /// The same as an address for a QR code.
    pub url: String,
}

impl SecondFactors {
    /// The second factors in this database.
    pub fn new(database: &Database) -> Self {
        Self { reads: database.reads.clone(), writes: database.writes.clone() }
    }

    /// Whether logging in takes a code.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn is_on(&self, account: Uuid) -> Result<bool, StoreError> {
        let on = "select exists (select from second_factors where account_id = $1 and confirmed_at is not null)";
        Ok(sqlx::query_scalar(on).bind(account).fetch_one(&self.reads).await?)
    }

    /// A new secret, which means nothing before a first code; nothing when codes are asked for already.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn begin(&self, vault: &Vault, account: Uuid, email: &str) -> Result<Option<Enrolment>, Problem> {
        let totp = generator(&random::<SECRET>()?, email)?;
        let url = totp.to_url().map_err(|_| Problem::new(&codes::INTERNAL))?;
        let secret = totp.secret().to_base32();
        let begun = sqlx::query(
            "insert into second_factors (account_id, secret) values ($1, $2::json)
             on conflict (account_id) do update set secret = excluded.secret
             where second_factors.confirmed_at is null",
        )
        .bind(account)
        .bind(sealed(vault, account, &secret).await?)
        .execute(&self.writes)
        .await?;
        Ok((begun.rows_affected() > 0).then_some(Enrolment { secret, url }))
    }

    /// From now on logging in takes a code, if this is one of the secret that was begun with.
    ///
    /// # Errors
    /// A 401 for a wrong code, a 409 when nothing was begun, a 503 when the database does not answer.
    pub async fn confirm(&self, vault: &Vault, account: Uuid, code: &str) -> Result<(), Problem> {
        let totp = self.generator_of(vault, account).await?;
        let totp = totp.ok_or_else(|| Problem::new(&codes::TOTP_NOT_BEGUN))?;
        let step = step_of(&totp, code).ok_or_else(|| Problem::new(&codes::AUTH_INVALID_TOTP))?;
        let confirmed = sqlx::query(
            "update second_factors set confirmed_at = clock_timestamp(), last_step = $2
             where account_id = $1 and confirmed_at is null",
        )
        .bind(account)
        .bind(step.cast_signed())
        .execute(&self.writes)
        .await?;
        match confirmed.rows_affected() {
            0 => Err(Problem::new(&codes::TOTP_ALREADY_ENABLED)),
            _ => Ok(()),
        }
    }

    /// New recovery codes, good once each; those there were are good no more.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn renew_recovery_codes(&self, vault: &Vault, account: Uuid) -> Result<Vec<String>, Problem> {
        let codes: Result<Vec<_>, _> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        let codes = codes?;
        let hashes: Vec<_> = codes.iter().map(|code| recovery_hash(vault, account, code)).collect();
        let mut transaction = self.writes.begin().await?;
        sqlx::query("delete from recovery_codes where account_id = $1")
            .bind(account)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("insert into recovery_codes (account_id, code) select $1, unnest($2::bytea[])")
            .bind(account)
            .bind(hashes)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(codes)
    }

    /// Whether a code, or a recovery code, lets its account in; it never does again.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn accepts(&self, vault: &Vault, account: Uuid, code: &str) -> Result<bool, Problem> {
        let used = match self.generator_of(vault, account).await?.and_then(|totp| step_of(&totp, code)) {
            Some(step) => {
                // One of many at once moves the step on; the others find it moved.
                let update = "update second_factors set last_step = $2 where account_id = $1 and last_step < $2";
                sqlx::query(update).bind(account).bind(step.cast_signed()).execute(&self.writes).await?
            }
            None => {
                let delete = "delete from recovery_codes where account_id = $1 and code = $2";
                sqlx::query(delete)
                    .bind(account)
                    .bind(recovery_hash(vault, account, code))
                    .execute(&self.writes)
                    .await?
            }
        };
        Ok(used.rows_affected() > 0)
    }

    /// Forgets the secret and the recovery codes. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget(&self, account: Uuid) -> Result<(), StoreError> {
        for delete in
            ["delete from second_factors where account_id = $1", "delete from recovery_codes where account_id = $1"]
        {
            sqlx::query(delete).bind(account).execute(&self.writes).await?;
        }
        Ok(())
    }

    async fn generator_of(&self, vault: &Vault, account: Uuid) -> Result<Option<Totp>, Problem> {
        let secret: Option<Json<Box<RawValue>>> =
            sqlx::query_scalar("select secret from second_factors where account_id = $1")
                .bind(account)
                .fetch_optional(&self.reads)
                .await?;
        let Some(secret) = secret else { return Ok(None) };
        let secret: Option<String> = vault.reveal_as(&[(stream(account), secret)]).await?.pop().flatten();
        let secret = secret.and_then(|secret| totp_rs::Secret::try_from_base32(secret).ok());
        secret.map(|secret| generator(secret.as_ref(), "")).transpose()
    }
}

fn generator(secret: &[u8], email: &str) -> Result<Totp, Problem> {
    let totp = Builder::new()
        .with_secret(secret.to_vec())
        .with_skew(0)
        .with_step_duration(STEP)
        .with_issuer(Some(ISSUER))
        // A colon would end the issuer.
        .with_account_name(email.replace(':', ""));
    totp.build().map_err(|error| {
        tracing::error!(%error, "a second factor cannot be made");
        Problem::new(&codes::INTERNAL)
    })
}

/// The time step of a code that is good now: this one, or the one before for who types slowly.
fn step_of(totp: &Totp, code: &str) -> Option<u64> {
    let now = Utc::now().timestamp().max(0).cast_unsigned();
    totp.check(code, now).or_else(|| totp.check(code, now.saturating_sub(STEP)))
}

fn recovery_code() -> Result<String, StoreError> {
    let bytes = random::<RECOVERY_LENGTH>()?;
    let letters: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    Ok(format!("{}-{}-{}", &letters[..4], &letters[4..8], &letters[8..]))
}

/// However it was typed.
fn recovery_hash(vault: &Vault, account: Uuid, code: &str) -> Vec<u8> {
    let letters: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    vault.keyed_hash("recovery", format!("{account} {}", letters.to_ascii_lowercase()).as_bytes()).to_vec()
}
