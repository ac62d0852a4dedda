//! The account: who a person is here, what they may be, and whether they may come in.

mod commands;
mod error;
mod events;
mod profile;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use commands::{AccountCommand, Locale};
pub use error::AccountError;
pub use events::AccountEvent;
pub use profile::Profile;

use crate::access::{Actor, Denial, Resource, Role, Roles, can};
use crate::aggregate::Aggregate;
use crate::personal::Personal;
use crate::rejection::check_text;
use profile::Asked;
pub(crate) use profile::check_email;

/// The state of an account.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Account {
    /// Not registered yet.
    #[default]
    Absent,
    /// Registered.
    Registered(Box<Profile>),
}

impl Account {
    fn profile(&self) -> Option<&Profile> {
        match self {
            Self::Absent => None,
            Self::Registered(profile) => Some(profile),
        }
    }

    /// Its roles; none before it is registered.
    pub fn roles(&self) -> Roles {
        self.profile().map_or_else(Roles::default, |profile| profile.roles)
    }

    /// The organisation it belongs to.
    pub fn organization(&self) -> Option<Uuid> {
        self.profile().map(|profile| profile.organization)
    }

    /// Whether its person asked to be forgotten.
    pub fn is_erased(&self) -> bool {
        self.profile().is_some_and(|profile| profile.erased)
    }

    /// Whether it is registered, not suspended and not erased.
    pub fn is_active(&self) -> bool {
        self.profile().is_some_and(|profile| profile.active && !profile.erased)
    }

    /// Whether its owner has proved the e-mail address.
    pub fn is_verified(&self) -> bool {
        self.profile().is_some_and(|profile| profile.verified)
    }

    /// Whether logging in takes a second factor.
    pub fn has_totp(&self) -> bool {
        self.profile().is_some_and(|profile| profile.totp)
    }

    /// The admin who asked for its erasure, and when.
    pub fn erasure_request(&self) -> Option<(Uuid, DateTime<Utc>)> {
        self.profile().and_then(|profile| profile.erasure)
    }

    /// Its e-mail address.
    pub fn email(&self) -> Option<&Personal<String>> {
        self.profile().map(|profile| &profile.email)
    }

    /// The address that is to take the place of the present one, once it is proved.
    pub fn requested_email(&self) -> Option<&Personal<String>> {
        self.profile().and_then(|profile| profile.requested.as_ref())
    }

    /// Whether it shows a picture.
    pub fn has_avatar(&self) -> bool {
        self.profile().is_some_and(|profile| profile.avatar && !profile.erased)
    }

    /// The name it shows.
    pub fn name(&self) -> Option<&Personal<String>> {
        self.profile().map(|profile| &profile.name)
    }

    /// Its language.
    pub fn locale(&self) -> Option<Locale> {
        self.profile().map(|profile| profile.locale)
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn authorize(&self, actor: &Actor, command: &AccountCommand) -> Result<Role, Denial> {
        let id = match (self, command) {
            (Self::Registered(profile), _) => profile.id,
            (Self::Absent, AccountCommand::Register { id, .. }) => *id,
            (Self::Absent, _) => return Err(Denial::Hidden),
        };
        can(actor, command.action(), &Resource::Account { id })
    }

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match self {
            Self::Absent => register(command),
            Self::Registered(profile) => profile.decide(command),
        }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match (self, event) {
            (state @ Self::Absent, AccountEvent::Registered { organization, email, name, locale, roles, .. }) => {
                *state = Self::Registered(Box::new(Profile {
                    id: email.of(),
                    organization: *organization,
                    email: email.clone(),
                    name: name.clone(),
                    locale: *locale,
                    roles: *roles,
                    active: true,
                    // The first admin is named by who runs the instance.
                    verified: roles.contains(Role::Admin),
                    totp: false,
                    avatar: false,
                    erased: false,
                    erasure: None,
                    requested: None,
                    asked: Asked::default(),
                }));
            }
            (Self::Absent, _) => {}
            (Self::Registered(profile), event) => profile.apply(event),
        }
    }
}

fn register(command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
    let AccountCommand::Register { id, organization, email, name, locale, first_admin, at } = command else {
        return Err(AccountError::NotFound);
    };
    let (email, name) = (email.trim().to_owned(), name.trim().to_owned());
    let mut errors = vec![];
    check_email(&mut errors, &email);
    check_text(&mut errors, "/name", &name, 1, 200);
    if !errors.is_empty() {
        return Err(AccountError::Invalid(errors));
    }
    let admin = first_admin.then_some(Role::Admin);
    Ok(vec![AccountEvent::Registered {
        organization,
        email: Personal::new(id, email),
        name: Personal::new(id, name),
        locale: locale.unwrap_or_default(),
        roles: admin.into_iter().chain([Role::Applicant]).collect(),
        at,
    }])
}

/// The form of an address under which no two accounts may register: trimmed, in lower case.
pub fn canonical_address(email: &str) -> String {
    email.trim().to_lowercase()
}

#[cfg(test)]
mod tests;
