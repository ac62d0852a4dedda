//! Opening an account: secrets first, under the new id, then the event that makes them mean something.

use commands::{CommandError, Context, Executed};
use domain::access::DEFAULT_ORGANIZATION;
use domain::account::{Account, AccountCommand, AccountError, Locale};
use domain::rejection::RejectionKind;
use domain::{Actor, Aggregate, Rejection, Role};
use event_store::Claim;
use uuid::Uuid;

use super::{ADDRESS, address_hash, check_new_password, check_password_length};
use crate::app::App;
use crate::error::{command_problem, rejection_problem};
use crate::problem::{Problem, codes};

/// Who wants an account.
pub struct Registration {
    /// The address to log in with.
    pub email: String,
    /// The password to log in with; none for who logs in elsewhere.
    pub password: Option<String>,
    /// The name to show.
    pub name: String,
    /// The language to be addressed in.
    pub locale: Option<Locale>,
    /// Whether it is the instance's first admin.
    pub first_admin: bool,
}

/// Opens the account `id`.
///
/// # Errors
/// A 422 for fields that cannot stand, a 409 when the address is taken, a 503 when the store does not answer.
pub async fn register(
    app: &App,
    id: Uuid,
    registration: Registration,
    mut context: Context,
) -> Result<Executed, Problem> {
    registration.check()?;
    let Registration { email, password, name, locale, first_admin } = registration;
    let address = address_hash(app.vault(), &email);
    let at = chrono::Utc::now();
    let organization = DEFAULT_ORGANIZATION;
    let command = AccountCommand::Register { id, organization, email, name, locale, first_admin, at };
    // Only the append decides; asking first spares the hash.
    if app.store().claim_owner(ADDRESS, &address).await?.is_some() {
        return Err(taken());
    }
    let hash = match password {
        Some(password) => Some(app.auth().passwords.hash(password).await?),
        None => None,
    };
    app.vault().create_key(id).await?;
    if let Some(hash) = hash {
        app.auth().keep_password(id, &hash).await?;
    }
    context.claims.push(Claim { kind: ADDRESS, value: address, owner: id, release: false });
    app.commands().create::<Account>(id, command, context).await.map_err(|error| match error {
        CommandError::ClaimTaken => taken(),
        error => command_problem::<Account>(error),
    })
}

/// Opens an account without a password, for somebody whose address another has verified.
///
/// # Errors
/// As [`register`].
pub async fn open_verified_account(
    app: &App,
    email: String,
    name: String,
    context: impl Fn(Actor) -> Context,
) -> Result<Uuid, Problem> {
    let id = Uuid::now_v7();
    let roles = [Role::Applicant].into_iter().collect();
    let actor = Actor::new(id, roles, DEFAULT_ORGANIZATION);
    let registration = Registration { email: email.clone(), password: None, name, locale: None, first_admin: false };
    register(app, id, registration, context(actor)).await?;
    let verified = AccountCommand::VerifyAddress { email, at: chrono::Utc::now() };
    let done = app.commands().execute::<Account>(id, verified, context(actor)).await;
    done.map_err(command_problem::<Account>)?;
    Ok(id)
}

fn taken() -> Problem {
    rejection_problem(&AccountError::AddressTaken)
}

impl Registration {
    /// Says all that cannot stand at once, before anything is computed or stored.
    ///
    /// # Errors
    /// A 422 that names the fields.
    pub fn check(&self) -> Result<(), Problem> {
        let command = AccountCommand::Register {
            id: Uuid::nil(),
            organization: DEFAULT_ORGANIZATION,
            email: self.email.clone(),
            name: self.name.clone(),
            locale: self.locale,
            first_admin: self.first_admin,
            at: chrono::Utc::now(),
        };
        let mut errors = match Account::default().decide(command).map_err(|refusal| refusal.kind()) {
            Err(RejectionKind::Invalid(errors)) => errors,
            _ => Vec::new(),
        };
        if let Some(password) = &self.password {
            // Who runs the instance may have reasons of their own.
            let check = if self.first_admin { check_password_length } else { check_new_password };
            check(&mut errors, "/password", password);
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::new(&codes::ACCOUNT_INVALID).with_errors(errors)) }
    }
}
