//! What is known of a registered account, and what it allows.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{AccountCommand, AccountError, AccountEvent, Locale, canonical_address};
use crate::access::{Role, Roles};
use crate::change::Change;
use crate::personal::Personal;
use crate::rejection::{FieldError, check_text};

/// How long whoever knows the address has to wait between two messages to it.
const BETWEEN_MESSAGES: TimeDelta = TimeDelta::minutes(2);
/// How long a second admin may take to agree to an erasure.
const CONSENT: TimeDelta = TimeDelta::days(7);

/// What is known of a registered account.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub(super) id: Uuid,
    pub(super) organization: Uuid,
    pub(super) email: Personal<String>,
    pub(super) name: Personal<String>,
    pub(super) locale: Locale,
    pub(super) roles: Roles,
    pub(super) active: bool,
    pub(super) verified: bool,
    pub(super) totp: bool,
    pub(super) avatar: bool,
    pub(super) erased: bool,
    /// The admin who asked for its erasure, and when; another has to agree.
    pub(super) erasure: Option<(Uuid, DateTime<Utc>)>,
    /// The address that is to take the place of the present one, once it is proved.
    pub(super) requested: Option<Personal<String>>,
    /// What was asked for by whoever knows the address.
    pub(super) asked: Asked,
}

/// When each kind of message was last asked for: one kind must not keep another from its owner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    verification: Option<DateTime<Utc>>,
    reuse: Option<DateTime<Utc>>,
    reset: Option<DateTime<Utc>>,
    address: Option<DateTime<Utc>>,
}

impl Profile {
    pub(super) fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match command {
            AccountCommand::Erase { .. } if self.erased => Ok(vec![]),
            _ if self.erased => Err(AccountError::NotFound),
            AccountCommand::Erase { .. } if self.roles.contains(Role::Admin) => Err(AccountError::OwnRights),
            AccountCommand::Erase { at } => Ok(vec![AccountEvent::Erased { at }]),
            AccountCommand::RequestErasure { .. } if self.roles.contains(Role::Admin) => Err(AccountError::OwnRights),
            AccountCommand::RequestErasure { reason, by, at } => self.request_erasure(reason, by, at),
            AccountCommand::WithdrawErasure { by, at } => match self.erasure {
                Some(_) => Ok(vec![AccountEvent::ErasureWithdrawn { by, at }]),
                None => Ok(vec![]),
            },
            AccountCommand::ApproveErasure { by, at } => self.approve_erasure(by, at),
            AccountCommand::Register { .. } => Err(AccountError::AlreadyRegistered),
            AccountCommand::EditProfile { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::EditProfile { name, locale, at } => self.edit(name, locale, at),
            AccountCommand::ChangeAvatar { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::ChangeAvatar { at } => self.note(AccountEvent::AvatarChanged { at }),
            AccountCommand::RemoveAvatar { .. } if !self.avatar => Ok(vec![]),
            AccountCommand::RemoveAvatar { at } => self.note(AccountEvent::AvatarRemoved { at }),
            AccountCommand::ChangeAddress { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::ChangeAddress { before, .. } if !self.goes_by(&before) => Err(AccountError::OtherAddress),
            AccountCommand::ChangeAddress { email, at, .. } => self.change_address(email, at),
            AccountCommand::RequestAddress { .. } if !self.active => Err(AccountError::Suspended),
            AccountCommand::RequestAddress { email, at } => self.request_address(email, at),
            AccountCommand::ConfirmAddress { before, email, at } => self.confirm_address(before, email, at),
            AccountCommand::RequestVerification { .. } if self.verified => Err(AccountError::AlreadyVerified),
            AccountCommand::RequestVerification { at } => {
                self.ask(self.asked.verification, AccountEvent::VerificationRequested { at })
            }
            AccountCommand::VerifyAddress { email, .. } if !self.goes_by(&email) => Err(AccountError::OtherAddress),
            AccountCommand::VerifyAddress { .. } if self.verified => Ok(vec![]),
            AccountCommand::VerifyAddress { at, .. } => self.note(AccountEvent::AddressVerified { at }),
            AccountCommand::NoteAddressReuse { at } => self.ask(self.asked.reuse, AccountEvent::AddressReused { at }),
            AccountCommand::ChangePassword { at } => self.note(AccountEvent::PasswordChanged { at }),
            AccountCommand::RequestPasswordReset { at } => {
                self.ask(self.asked.reset, AccountEvent::PasswordResetRequested { at })
            }
            AccountCommand::ResetPassword { email, at } => match self.goes_by(&email) {
                true => self.note(AccountEvent::PasswordReset { at }),
                // The address changed on the way: the password is another all the same, and nothing is proved.
                false => self.note(AccountEvent::PasswordChanged { at }),
            },
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

    /// What calls for a message to the owner, who must not be flooded by others.
    fn ask(&self, last: Option<DateTime<Utc>>, event: AccountEvent) -> Result<Vec<AccountEvent>, AccountError> {
        let lately = last.is_some_and(|last| event.at() - last < BETWEEN_MESSAGES);
        if lately { Ok(vec![]) } else { self.note(event) }
    }

    fn goes_by(&self, email: &str) -> bool {
        is_same(Some(&self.email), email)
    }

    fn change_address(&self, email: String, at: DateTime<Utc>) -> Result<Vec<AccountEvent>, AccountError> {
        let email = checked_email(email)?;
        let change = Change::between(&self.email, Personal::new(self.id, email));
        Ok(change.into_iter().map(|Change { from, to }| AccountEvent::AddressChanged { from, to, at }).collect())
    }

    fn request_address(&self, email: String, at: DateTime<Utc>) -> Result<Vec<AccountEvent>, AccountError> {
        let email = checked_email(email)?;
        if self.goes_by(&email) {
            return Ok(vec![]);
        }
        let event = AccountEvent::AddressRequested { to: Personal::new(self.id, email.clone()), at };
        match is_same(self.requested.as_ref(), &email) {
            true => self.ask(self.asked.address, event),
            false => self.note(event),
        }
    }

    fn confirm_address(
        &self,
        before: String,
        email: String,
        at: DateTime<Utc>,
    ) -> Result<Vec<AccountEvent>, AccountError> {
        let requested = self.requested.as_ref().filter(|requested| is_same(Some(requested), &email));
        let to = requested.filter(|_| self.goes_by(&before)).ok_or(AccountError::OtherAddress)?.clone();
        let changed = AccountEvent::AddressChanged { from: self.email.clone(), to, at };
        Ok(vec![changed, AccountEvent::AddressVerified { at }])
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

    fn request_erasure(&self, reason: String, by: Uuid, at: DateTime<Utc>) -> Result<Vec<AccountEvent>, AccountError> {
        let reason = self.reason(reason)?;
        let asked = self.erasure.is_some_and(|(_, asked)| at - asked < CONSENT);
        Ok(if asked { vec![] } else { vec![AccountEvent::ErasureRequested { reason, by, at }] })
    }

    fn approve_erasure(&self, by: Uuid, at: DateTime<Utc>) -> Result<Vec<AccountEvent>, AccountError> {
        match self.erasure.filter(|(_, asked)| at - *asked < CONSENT) {
            _ if self.roles.contains(Role::Admin) => Err(AccountError::OwnRights),
            None => Err(AccountError::ErasureNotRequested),
            Some((first, _)) if first == by => Err(AccountError::SecondApprovalRequired),
            Some(_) => Ok(vec![AccountEvent::Erased { at }]),
        }
    }

    fn reason(&self, reason: String) -> Result<Personal<String>, AccountError> {
        let mut errors = vec![];
        check_text(&mut errors, "/reason", &reason, 1, 5_000);
        if errors.is_empty() { Ok(Personal::new(self.id, reason)) } else { Err(AccountError::Invalid(errors)) }
    }

    pub(super) fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::VerificationRequested { at } => self.asked.verification = Some(*at),
            AccountEvent::AddressReused { at } => self.asked.reuse = Some(*at),
            AccountEvent::PasswordResetRequested { at } => self.asked.reset = Some(*at),
            AccountEvent::Registered { .. }
            | AccountEvent::PasswordChanged { .. }
            | AccountEvent::ApiTokenIssued { .. }
            | AccountEvent::ApiTokenRevoked { .. } => {}
            AccountEvent::AddressVerified { .. } => self.verified = true,
            // The message that carried the proof went to the address.
            AccountEvent::PasswordReset { .. } => self.verified = true,
            AccountEvent::AddressChanged { to, .. } => {
                self.email = to.clone();
                self.verified = false;
                self.requested = None;
            }
            AccountEvent::AddressRequested { to, at } => {
                self.requested = Some(to.clone());
                self.asked.address = Some(*at);
            }
            AccountEvent::AvatarChanged { .. } => self.avatar = true,
            AccountEvent::AvatarRemoved { .. } => self.avatar = false,
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
            AccountEvent::ErasureRequested { by, at, .. } => self.erasure = Some((*by, *at)),
            AccountEvent::ErasureWithdrawn { .. } => self.erasure = None,
            AccountEvent::Erased { .. } => self.erased = true,
        }
    }
}

/// Checks that an address could be one; only a message to it proves that it is.
fn is_same(own: Option<&Personal<String>>, email: &str) -> bool {
    own.and_then(|own| own.get()).is_some_and(|own| canonical_address(own) == canonical_address(email))
}

fn checked_email(email: String) -> Result<String, AccountError> {
    let email = email.trim().to_owned();
    let mut errors = vec![];
    check_email(&mut errors, &email);
    if errors.is_empty() { Ok(email) } else { Err(AccountError::Invalid(errors)) }
}

pub(crate) fn check_email(errors: &mut Vec<FieldError>, email: &str) {
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
