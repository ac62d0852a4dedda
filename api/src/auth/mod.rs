//! Who calls: tokens, sessions, passwords, and the accounts behind them.

mod accounts;
mod api_tokens;
mod caller;
pub mod cookies;
mod first_admin;
mod guesses;
mod jwt;
mod login;
pub mod oidc;
mod opaque;
mod passwords;
mod registration;
mod scope;
mod second_factors;
mod sessions;
mod signing_keys;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use commands::Commands;
use domain::Actor;
use domain::account::canonical_address;
use event_store::{Database, EventStore, StoreError, Vault};
use moka::future::Cache;
use sqlx::PgPool;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

pub use accounts::{Accounts, Standing};
pub use api_tokens::{ApiToken, ApiTokens};
pub use caller::{Caller, Credential, Credentials};
pub use first_admin::{FirstAdminError, NewAdmin, ensure_first_admin};
pub use guesses::Guesses;
pub use jwt::{Jwk, LIFETIME};
pub use login::{Proof, check_password, log_in, prove_again};
pub use opaque::{sealed, stream};
pub use passwords::{
    Passwords, StandIn, check as check_password_length, check_chosen as check_new_password, is_importable,
};
pub use registration::{Registration, open_verified_account, register};
pub use scope::Scope;
pub use second_factors::{Enrolment, SecondFactors};
pub use sessions::{ActiveSession, Session, Sessions};
pub use signing_keys::{Rotation, rotate as rotate_signing_keys};
pub use tokens::AccessTokens;

use crate::config::Config;
use crate::problem::Problem;
use oidc::Oidc;

/// The kind of claim by which an address belongs to one account.
pub const ADDRESS: &str = "account.address";

/// Everything that knows callers.
#[derive(Clone)]
pub struct Auth {
    /// The accounts behind the tokens.
    pub accounts: Accounts,
    /// Tokens for programs.
    pub api_tokens: ApiTokens,
    /// Wrong guesses.
    pub guesses: Guesses,
    /// Other providers.
    pub oidc: Oidc,
    /// Passwords and their hashes.
    pub passwords: Passwords,
    /// Second factors.
    pub second_factors: SecondFactors,
    /// Log-ins.
    pub sessions: Sessions,
    /// Access tokens.
    pub tokens: Arc<AccessTokens>,
    /// The cost of the hashes by bcrypt that are left, if any are.
    bcrypt: Cache<(), Option<u32>>,
    reads: PgPool,
    writes: PgPool,
}

/// How long it takes to notice that the first hash by bcrypt was imported, or the last one replaced.
const BCRYPT_KNOWN_FOR: Duration = Duration::from_secs(60);

/// What keeps a process from knowing callers.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Signing does not work on this machine.
    #[error("access tokens cannot be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no way to call providers.
    #[error("providers cannot be called: {0}")]
    Providers(#[from] oidc::OidcError),
}

impl Auth {
    /// Callers, as this database and log know them.
    ///
    /// # Errors
    /// [`AuthError`] when signing does not work on this machine, or the store does not answer.
    pub async fn open(
        config: &Config,
        database: &Database,
        store: &EventStore,
        commands: Commands,
    ) -> Result<Self, AuthError> {
        Ok(Self {
            accounts: Accounts::new(commands),
            api_tokens: ApiTokens::new(database),
            guesses: Guesses::new(database),
            oidc: Oidc::new(&config.oidc_providers, &config.public_url, database)?,
            passwords: Passwords::new(),
            second_factors: SecondFactors::new(database),
            sessions: Sessions::new(database),
            tokens: Arc::new(AccessTokens::open(database, store).await?),
            bcrypt: Cache::builder().max_capacity(1).time_to_live(BCRYPT_KNOWN_FOR).build(),
            reads: database.reads.clone(),
            writes: database.writes.clone(),
        })
    }

    /// What stands in for the password of whoever goes by `name` and does not exist. As long as some passwords take as
    /// long as bcrypt does, so do half of those that there are none of: how long it takes tells nothing.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    async fn stand_in(&self, vault: &Vault, name: &[u8]) -> Result<StandIn, Problem> {
        let read = async {
            let left = "select password_hash from credentials where password_hash like '$2%' limit 1";
            let left: Option<String> = sqlx::query_scalar(left).fetch_optional(&self.reads).await?;
            Ok::<_, StoreError>(left.and_then(|hash| passwords::bcrypt_cost(&hash)))
        };
        let cost = self.bcrypt.try_get_with((), read).await;
        let cost = cost.map_err(|error| Problem::from(StoreError::clone(&error)))?;
        let even = vault.keyed_hash("stand-in", name)[0].is_multiple_of(2);
        Ok(cost.filter(|_| even).map_or(StandIn::Argon2, StandIn::Bcrypt))
    }

    /// What an account may do, as of a second ago at most.
    ///
    /// # Errors
    /// A 503 when the event store does not answer.
    pub async fn standing(&self, account: Uuid) -> Result<Standing, Problem> {
        let standing = self.accounts.standing(account).await;
        standing.map_err(|error| StoreError::clone(&error).into())
    }

    /// An account as an actor in an organisation, as of a second ago at most; nothing when it may not act there.
    ///
    /// # Errors
    /// A 503 when the event store does not answer.
    pub async fn actor(&self, account: Uuid, organization: Uuid) -> Result<Option<Actor>, Problem> {
        let actor = self.accounts.actor(account, Some(organization)).await;
        actor.map_err(|error| StoreError::clone(&error).into())
    }

    /// Keeps the hash of an account's password.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn keep_password(&self, account: Uuid, hash: &str) -> Result<(), Problem> {
        sqlx::query(
            "insert into credentials (account_id, password_hash) values ($1, $2)
             on conflict (account_id) do update
             set password_hash = excluded.password_hash, changed_at = clock_timestamp()",
        )
        .bind(account)
        .bind(hash)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// Replaces the hash of an account's password; false when it was another meanwhile.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn replace_password(&self, account: Uuid, old: &str, new: &str) -> Result<bool, Problem> {
        let update = "update credentials set password_hash = $3, changed_at = clock_timestamp()
                      where account_id = $1 and password_hash = $2";
        let replaced = sqlx::query(update).bind(account).bind(old).bind(new).execute(&self.writes).await?;
        Ok(replaced.rows_affected() > 0)
    }

    /// Keeps the hash of the first password of an account; false when it has one meanwhile.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn first_password(&self, account: Uuid, hash: &str) -> Result<bool, Problem> {
        let insert = "insert into credentials (account_id, password_hash) values ($1, $2) on conflict do nothing";
        let kept = sqlx::query(insert).bind(account).bind(hash).execute(&self.writes).await?;
        Ok(kept.rows_affected() > 0)
    }

    /// The hash of an account's password, when it has one.
    ///
    /// # Errors
    /// A 503 when the database does not answer.
    pub async fn password_hash(&self, account: Uuid) -> Result<Option<String>, Problem> {
        let hash = sqlx::query_scalar("select password_hash from credentials where account_id = $1");
        Ok(hash.bind(account).fetch_optional(&self.reads).await?)
    }
}

/// The keyed hash under which an address is claimed: trimmed, composed, in lower case.
pub fn address_hash(vault: &Vault, email: &str) -> Vec<u8> {
    let composed: String = email.nfc().collect();
    let canonical: String = canonical_address(&composed).nfc().collect();
    vault.keyed_hash("address", canonical.as_bytes()).to_vec()
}
