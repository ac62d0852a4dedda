//! The account: who a person is here, what they may be, and whether they may come in.

mod commands;
mod error;
mod events;

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

    /// Whether it is registered and not suspended.
    pub fn is_active(&self) -> bool {
        self.profile().is_some_and(|profile| profile.active)
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
            AccountCommand::Register { .. } => Err(AccountError::AlreadyRegistered),
            AccountCommand::EditProfile { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::EditProfile { name, locale, at } => self.edit(name, locale, at),
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

    fn edit(
        &self,
        name: Option<String>,
        locale: Option<Locale>,
        at: chrono::DateTime<chrono::Utc>,
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
            AccountEvent::Registered { .. } => {}
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
