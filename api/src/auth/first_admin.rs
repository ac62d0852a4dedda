//! The first admin: made once per instance, however many processes start at once.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use commands::Context;
use domain::access::DEFAULT_ORGANIZATION;
use domain::{Actor, Role, Roles};
use event_store::{Claim, StoreError};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;
use uuid::Uuid;

use super::registration::{Registration, register};
use crate::app::App;
use crate::problem::Problem;

/// The kind of the one claim that the first admin takes.
const CLAIM: &str = "instance.first_admin";
const DEFAULT_ADDRESS: &str = "admin@capitune.local";
const DEADLINE: Duration = Duration::from_secs(30);

/// How a first admin that was just made logs in.
pub struct NewAdmin {
    /// The address.
    pub email: String,
    /// The password, when it was made up.
    pub generated_password: Option<String>,
}

/// Why there is no first admin.
#[derive(Debug, thiserror::Error)]
pub enum FirstAdminError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// The password could not be kept where its owner will look for it.
    #[error("the first administrator's password cannot be kept: {0}")]
    Keep(#[from] std::io::Error),
    /// The account was refused.
    #[error("the first administrator (CAPITUNE_ADMIN_EMAIL, CAPITUNE_ADMIN_PASSWORD) cannot be made: {0}")]
    Refused(String),
}

/// Makes the first admin unless there ever was one: as configured, or with a password of its own, which `keep` is given
/// with the address before there is an admin: one whose password nobody knows would be the only one for ever.
///
/// # Errors
/// [`FirstAdminError`] when it cannot be made.
pub async fn ensure_first_admin(
    app: &App,
    configured: Option<(String, String)>,
    keep: impl FnOnce(&str, &str) -> std::io::Result<()>,
) -> Result<Option<NewAdmin>, FirstAdminError> {
    let made = || async { app.store().claim_owner(CLAIM, CLAIM.as_bytes()).await.map(|owner| owner.is_some()) };
    if made().await? {
        return Ok(None);
    }
    let (email, password, generated_password) = match configured {
        Some((email, password)) => (email, password, None),
        None => {
            let password = random_password()?;
            keep(DEFAULT_ADDRESS, &password)?;
            (DEFAULT_ADDRESS.to_owned(), password.clone(), Some(password))
        }
    };
    let id = Uuid::now_v7();
    let registration = Registration {
        email: email.clone(),
        password: Some(password),
        name: "Administrateur".to_owned(),
        locale: None,
        first_admin: true,
    };
    match register(app, id, registration, context(id)).await {
        Ok(_) => Ok(Some(NewAdmin { email, generated_password })),
        // Another process may have been faster.
        Err(_) if made().await? => Ok(None),
        Err(problem) => Err(refused(&problem)),
    }
}

fn refused(problem: &Problem) -> FirstAdminError {
    FirstAdminError::Refused(problem.to_string())
}

fn context(id: Uuid) -> Context {
    let roles: Roles = [Role::Applicant, Role::Admin].into_iter().collect();
    let claim = Claim { kind: CLAIM, value: CLAIM.as_bytes().to_vec(), owner: id, release: false };
    let actor = Actor::new(id, roles, DEFAULT_ORGANIZATION);
    Context { claims: vec![claim], ..Context::without_request(actor, Instant::now() + DEADLINE) }
}

fn random_password() -> Result<String, FirstAdminError> {
    let mut bytes = [0; 18];
    SystemRandom::new().fill(&mut bytes).map_err(|_| FirstAdminError::Randomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
