//! The account: who a person is here, what they may be, and whether they may come in.

mod commands;
mod error;
mod events;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use commands::{AccountCommand, Locale};
pub use error::AccountError;
pub use events::AccountEvent;

use crate::access::{Actor, Denial, Resource, Role, Roles, can};
use crate::aggregate::Aggregate;
use crate::change::Change;
use crate::personal::Personal;
use crate::rejection::{FieldError, check_text};

/// The state of an account.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Account {
    /// Not registered yet.
    #[default]
    Absent,
    /// Registered.
    Registered(Box<Profile>),
}

/// What is known of a registered account.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    id: Uuid,
    organization: Uuid,
    email: Personal<String>,
    name: Personal<String>,
    locale: Locale,
    roles: Roles,
    active: bool,
    verified: bool,
    totp: bool,
    erased: bool,
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

    /// Its e-mail address.
    pub fn email(&self) -> Option<&Personal<String>> {
        self.profile().map(|profile| &profile.email)
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
                    verified: false,
                    totp: false,
                    erased: false,
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

impl Profile {
    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match command {
            AccountCommand::Erase { .. } if self.erased => Ok(vec![]),
            _ if self.erased => Err(AccountError::NotFound),
            AccountCommand::Erase { .. } if self.roles.contains(Role::Admin) => Err(AccountError::OwnRights),
            AccountCommand::Erase { at } => Ok(vec![AccountEvent::Erased { at }]),
            AccountCommand::Register { .. } => Err(AccountError::AlreadyRegistered),
            AccountCommand::EditProfile { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::EditProfile { name, locale, at } => self.edit(name, locale, at),
            AccountCommand::ChangeAddress { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::ChangeAddress { email, at } => self.change_address(email, at),
            AccountCommand::RequestVerification { .. } if self.verified => Err(AccountError::AlreadyVerified),
            AccountCommand::RequestVerification { at } => self.note(AccountEvent::VerificationRequested { at }),
            AccountCommand::VerifyAddress { .. } if self.verified => Ok(vec![]),
            AccountCommand::VerifyAddress { at } => self.note(AccountEvent::AddressVerified { at }),
            AccountCommand::ChangePassword { at } => self.note(AccountEvent::PasswordChanged { at }),
            AccountCommand::RequestPasswordReset { at } => self.note(AccountEvent::PasswordResetRequested { at }),
            AccountCommand::ResetPassword { at } => self.note(AccountEvent::PasswordReset { at }),
            AccountCommand::EnableTotp { .. } if self.totp => Ok(vec![]),
            AccountCommand::EnableTotp { at } => self.note(AccountEvent::TotpEnabled { at }),
            AccountCommand::DisableTotp { .. } if !self.totp => Ok(vec![]),
            AccountCommand::DisableTotp { at } => self.note(AccountEvent::TotpDisabled { at }),
            AccountCommand::IssueApiToken { token, scopes, expires_at, at } => {
                self.note(AccountEvent::ApiTokenIssued { token, scopes, expires_at, at })
            }
            // A suspended account may still take back what it gave out.
            AccountCommand::RevokeApiToken { token, at } => Ok(vec![AccountEvent::ApiTokenRevoked { token, at }]),
            AccountCommand::ChangeRoles { roles, by, at } => {
                let to: Roles = roles.iter().chain([Role::Applicant]).collect();
                if to == self.roles {
                    return Ok(vec![]);
                }
                let gives_up_admin = self.roles.contains(Role::Admin) && !to.contains(Role::Admin);
                if by == self.id && gives_up_admin {
                    return Err(AccountError::OwnRights);
                }
                Ok(vec![AccountEvent::RolesChanged { from: self.roles, to, by, at }])
            }
            AccountCommand::Suspend { by, .. } if by == self.id => Err(AccountError::OwnRights),
            AccountCommand::Suspend { reason, by, at } => {
                let reason = self.reason(reason)?;
                let event = AccountEvent::Suspended { reason, by, at };
                Ok(if self.active { vec![event] } else { vec![] })
            }
            AccountCommand::Reactivate { reason, by, at } => {
                let reason = self.reason(reason)?;
                let event = AccountEvent::Reactivated { reason, by, at };
                Ok(if self.active { vec![] } else { vec![event] })
            }
        }
    }

    /// What happened outside, unless the account is shut out.
    fn note(&self, event: AccountEvent) -> Result<Vec<AccountEvent>, AccountError> {
        if self.active { Ok(vec![event]) } else { Err(AccountError::Suspended) }
    }

    fn change_address(&self, email: String, at: DateTime<Utc>) -> Result<Vec<AccountEvent>, AccountError> {
        let email = email.trim().to_owned();
        let mut errors = vec![];
        check_email(&mut errors, &email);
        if !errors.is_empty() {
            return Err(AccountError::Invalid(errors));
        }
        let change = Change::between(&self.email, Personal::new(self.id, email));
        Ok(change.into_iter().map(|Change { from, to }| AccountEvent::AddressChanged { from, to, at }).collect())
    }

    fn edit(
        &self,
        name: Option<String>,
        locale: Option<Locale>,
        at: DateTime<Utc>,
    ) -> Result<Vec<AccountEvent>, AccountError> {
        let name = name.map(|name| name.trim().to_owned());
        if let Some(name) = &name {
            let mut errors = vec![];
            check_text(&mut errors, "/name", name, 1, 200);
            if !errors.is_empty() {
                return Err(AccountError::Invalid(errors));
            }
        }
        let name = name.and_then(|new| Change::between(&self.name, Personal::new(self.id, new)));
        let locale = locale.and_then(|new| Change::between(&self.locale, new));
        if name.is_none() && locale.is_none() {
            return Ok(vec![]);
        }
        Ok(vec![AccountEvent::ProfileEdited { name, locale, at }])
    }

    fn reason(&self, reason: String) -> Result<Personal<String>, AccountError> {
        let mut errors = vec![];
        check_text(&mut errors, "/reason", &reason, 1, 5_000);
        if errors.is_empty() { Ok(Personal::new(self.id, reason)) } else { Err(AccountError::Invalid(errors)) }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Registered { .. }
            | AccountEvent::VerificationRequested { .. }
            | AccountEvent::PasswordChanged { .. }
            | AccountEvent::PasswordResetRequested { .. }
            | AccountEvent::ApiTokenIssued { .. }
            | AccountEvent::ApiTokenRevoked { .. } => {}
            AccountEvent::AddressVerified { .. } => self.verified = true,
            // The message that carried the proof went to the address.
            AccountEvent::PasswordReset { .. } => self.verified = true,
            AccountEvent::AddressChanged { to, .. } => {
                self.email = to.clone();
                self.verified = false;
            }
            AccountEvent::TotpEnabled { .. } => self.totp = true,
            AccountEvent::TotpDisabled { .. } => self.totp = false,
            AccountEvent::ProfileEdited { name, locale, .. } => {
                if let Some(change) = name {
                    self.name = change.to.clone();
                }
                if let Some(change) = locale {
                    self.locale = change.to;
                }
            }
            AccountEvent::RolesChanged { to, .. } => self.roles = *to,
            AccountEvent::Suspended { .. } => self.active = false,
            AccountEvent::Reactivated { .. } => self.active = true,
            AccountEvent::Erased { .. } => self.erased = true,
        }
    }
}

/// The form of an address under which no two accounts may register: trimmed, in lower case.
pub fn canonical_address(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Checks that an address could be one; only a message to it proves that it is.
fn check_email(errors: &mut Vec<FieldError>, email: &str) {
    let sane = |local: &str, host: &str| {
        !local.is_empty()
            && !host.contains('@')
            && host.split('.').all(|label| !label.is_empty())
            && !email.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if email.chars().count() > 254 {
        errors.push(FieldError::new("/email", "field.too_long", "must have at most 254 characters"));
    } else if !email.split_once('@').is_some_and(|(local, host)| sane(local, host)) {
        errors.push(FieldError::new("/email", "field.email", "must be an e-mail address"));
    }
}

#[cfg(test)]
mod tests;
