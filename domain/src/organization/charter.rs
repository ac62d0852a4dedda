//! An organisation that was created: its members, its invitations and its roles.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{INVITED_FOR, Kind, MemberRole, OrganizationCommand, OrganizationError, OrganizationEvent, check_name};
use crate::access::Permissions;
use crate::account::{canonical_address, check_email};
use crate::change::Change;
use crate::personal::Personal;
use crate::rejection::FieldError;

/// The most members, open invitations and roles of its own that an organisation has.
const MOST_MEMBERS: usize = 2000;
const MOST_INVITATIONS: usize = 100;
const MOST_ROLES: usize = 50;

/// What is known of an organisation that was created.
#[derive(Debug, Clone, PartialEq)]
pub struct Charter {
    /// Its name.
    pub name: String,
    /// What kind of organisation it is.
    pub kind: Kind,
    /// Who belongs to it, as what.
    pub members: BTreeMap<Uuid, MemberRole>,
    /// Who was invited and has not answered; some may have expired.
    pub invitations: BTreeMap<Uuid, Invitation>,
    /// The roles that it defined itself.
    pub roles: BTreeMap<String, Permissions>,
}

/// Somebody who was invited.
#[derive(Debug, Clone, PartialEq)]
pub struct Invitation {
    /// The e-mail address; erased once the invitation is of no more use.
    pub address: Personal<String>,
    /// What they are to be.
    pub role: MemberRole,
    /// Who invited them.
    pub by: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
}

impl Invitation {
    fn is_to(&self, address: &str) -> bool {
        self.address.get().is_some_and(|own| canonical_address(own) == canonical_address(address))
    }
}

impl Charter {
    pub(super) fn of(name: String, kind: Kind, admin: Uuid) -> Self {
        let members = BTreeMap::from([(admin, MemberRole::Admin)]);
        Self { name, kind, members, invitations: BTreeMap::new(), roles: BTreeMap::new() }
    }

    /// What an account may do there; nothing for who is not a member.
    pub fn permissions_of(&self, account: Uuid) -> Option<Permissions> {
        self.members.get(&account).and_then(|role| role.permissions(&self.roles))
    }

    /// Whether there is such an invitation, and it is for who has this address.
    pub fn is_addressed(&self, invitation: Uuid, address: &str) -> bool {
        self.invitations.get(&invitation).is_some_and(|invitation| invitation.is_to(address))
    }

    pub(super) fn decide(&self, command: OrganizationCommand) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        match command {
            OrganizationCommand::Create { .. } => Err(OrganizationError::AlreadyCreated),
            OrganizationCommand::Edit { name, kind, at } => self.edit(name, kind, at),
            OrganizationCommand::Invite { invitation, address, role, by, at } => {
                self.invite(invitation, address, role, by, at)
            }
            OrganizationCommand::Revoke { invitation, by, at } => {
                self.open(invitation, at)?;
                Ok(vec![OrganizationEvent::InvitationRevoked { invitation, by, at }])
            }
            OrganizationCommand::Accept { invitation, user, at, .. } => self.join(invitation, user, at),
            OrganizationCommand::Decline { invitation, at, .. } => {
                self.open(invitation, at)?;
                Ok(vec![OrganizationEvent::InvitationDeclined { invitation, at }])
            }
            OrganizationCommand::ChangeRole { user, role, by, at } => self.change_role(user, role, by, at),
            OrganizationCommand::Remove { user, by, at } => self.remove(user, by, at),
            OrganizationCommand::Forget { user, .. } if !self.members.contains_key(&user) => Ok(vec![]),
            OrganizationCommand::Forget { user, at } => Ok(vec![OrganizationEvent::MemberLeft { user, at }]),
            OrganizationCommand::DefineRole { role, permissions, by, at } => self.define(role, permissions, by, at),
            OrganizationCommand::DeleteRole { role, at } => self.delete_role(role, at),
        }
    }

    fn edit(
        &self,
        name: Option<String>,
        kind: Option<Kind>,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        let name = name.map(|name| name.trim().to_owned());
        name.as_deref().map_or(Ok(()), check_name)?;
        let name = name.and_then(|name| Change::between(&self.name, name));
        let kind = kind.and_then(|kind| Change::between(&self.kind, kind));
        if name.is_none() && kind.is_none() {
            return Ok(vec![]);
        }
        Ok(vec![OrganizationEvent::Edited { name, kind, at }])
    }

    fn invite(
        &self,
        invitation: Uuid,
        address: String,
        role: MemberRole,
        by: Uuid,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        let address = address.trim().to_owned();
        let mut errors = vec![];
        check_email(&mut errors, &address);
        if !errors.is_empty() {
            return Err(OrganizationError::Invalid(errors));
        }
        self.may_give(by, self.permissions(&role)?)?;
        let mut open = self.invitations.values().filter(|invitation| at < invitation.expires_at);
        if let Some(before) = open.clone().find(|invitation| invitation.is_to(&address)) {
            return if before.role == role { Ok(vec![]) } else { Err(OrganizationError::AlreadyInvited) };
        }
        if open.nth(MOST_INVITATIONS - 1).is_some() {
            return Err(OrganizationError::Full { what: "open invitations" });
        }
        let (address, expires_at) = (Personal::new(invitation, address), at + INVITED_FOR);
        Ok(vec![OrganizationEvent::MemberInvited { invitation, address, role, expires_at, by, at }])
    }

    fn open(&self, invitation: Uuid, at: DateTime<Utc>) -> Result<&Invitation, OrganizationError> {
        let open = self.invitations.get(&invitation).filter(|invitation| at < invitation.expires_at);
        open.ok_or(OrganizationError::InvitationNotFound)
    }

    fn join(
        &self,
        invitation: Uuid,
        user: Uuid,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        let role = self.open(invitation, at)?.role.clone();
        if self.members.contains_key(&user) {
            return Err(OrganizationError::AlreadyMember);
        }
        if self.members.len() >= MOST_MEMBERS {
            return Err(OrganizationError::Full { what: "members" });
        }
        Ok(vec![OrganizationEvent::MemberJoined { invitation, user, role, at }])
    }

    fn change_role(
        &self,
        user: Uuid,
        to: MemberRole,
        by: Uuid,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        let permissions = self.permissions(&to)?;
        let from = self.members.get(&user).ok_or(OrganizationError::MemberNotFound)?.clone();
        if from == to {
            return Ok(vec![]);
        }
        self.may_give(by, permissions)?;
        self.may_give(by, self.permissions(&from)?)?;
        self.keeps_an_admin_without(user)?;
        Ok(vec![OrganizationEvent::MemberRoleChanged { user, from, to, by, at }])
    }

    fn remove(&self, user: Uuid, by: Uuid, at: DateTime<Utc>) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        let role = self.members.get(&user).ok_or(OrganizationError::MemberNotFound)?;
        self.keeps_an_admin_without(user)?;
        if user == by {
            return Ok(vec![OrganizationEvent::MemberLeft { user, at }]);
        }
        self.may_give(by, self.permissions(role)?)?;
        Ok(vec![OrganizationEvent::MemberRemoved { user, by, at }])
    }

    fn define(
        &self,
        role: String,
        permissions: Permissions,
        by: Uuid,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        check_role_name(&role)?;
        self.may_give(by, permissions)?;
        match self.roles.get(&role) {
            Some(before) => {
                self.may_give(by, *before)?;
                let change = Change::between(before, permissions);
                let event = |permissions| OrganizationEvent::RoleRedefined { role, permissions, by, at };
                Ok(change.map(event).into_iter().collect())
            }
            None if self.roles.len() >= MOST_ROLES => Err(OrganizationError::Full { what: "roles" }),
            None => Ok(vec![OrganizationEvent::RoleDefined { role, permissions, by, at }]),
        }
    }

    fn delete_role(&self, role: String, at: DateTime<Utc>) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        if !self.roles.contains_key(&role) {
            return Err(OrganizationError::RoleNotFound);
        }
        let custom = MemberRole::Custom(role.clone());
        let invited = self
            .invitations
            .values()
            .filter(|invitation| at < invitation.expires_at)
            .map(|invitation| &invitation.role);
        if self.members.values().chain(invited).any(|used| *used == custom) {
            return Err(OrganizationError::RoleInUse);
        }
        Ok(vec![OrganizationEvent::RoleDeleted { role, at }])
    }

    fn permissions(&self, role: &MemberRole) -> Result<Permissions, OrganizationError> {
        let unknown = || {
            let detail = "there is no such role in this organisation";
            OrganizationError::Invalid(vec![FieldError::new("/role", "field.invalid", detail)])
        };
        role.permissions(&self.roles).ok_or_else(unknown)
    }

    /// Members give and take only what they have themselves. Whom the policy let in without being one runs the instance.
    fn may_give(&self, by: Uuid, permissions: Permissions) -> Result<(), OrganizationError> {
        match self.permissions_of(by) {
            Some(own) if !own.cover(permissions) => Err(OrganizationError::BeyondOwnPermissions),
            _ => Ok(()),
        }
    }

    fn keeps_an_admin_without(&self, user: Uuid) -> Result<(), OrganizationError> {
        let is_admin = |(_, role): &(&Uuid, &MemberRole)| **role == MemberRole::Admin;
        let mut admins = self.members.iter().filter(is_admin).map(|(admin, _)| *admin);
        let last = self.members.get(&user) == Some(&MemberRole::Admin) && !admins.any(|admin| admin != user);
        if last { Err(OrganizationError::LastAdmin) } else { Ok(()) }
    }

    pub(super) fn apply(&mut self, event: &OrganizationEvent) {
        match event {
            OrganizationEvent::Created { .. } => {}
            OrganizationEvent::Edited { name, kind, .. } => {
                if let Some(change) = name {
                    self.name = change.to.clone();
                }
                if let Some(change) = kind {
                    self.kind = change.to;
                }
            }
            OrganizationEvent::MemberInvited { invitation, address, role, expires_at, by, at } => {
                self.invitations.retain(|_, invitation| *at < invitation.expires_at);
                let (address, role, by, at, expires_at) = (address.clone(), role.clone(), *by, *at, *expires_at);
                self.invitations.insert(*invitation, Invitation { address, role, by, at, expires_at });
            }
            OrganizationEvent::InvitationRevoked { invitation, .. }
            | OrganizationEvent::InvitationDeclined { invitation, .. } => {
                self.invitations.remove(invitation);
            }
            OrganizationEvent::MemberJoined { invitation, user, role, .. } => {
                self.invitations.remove(invitation);
                self.members.insert(*user, role.clone());
            }
            OrganizationEvent::MemberRoleChanged { user, to, .. } => {
                self.members.insert(*user, to.clone());
            }
            OrganizationEvent::MemberRemoved { user, .. } | OrganizationEvent::MemberLeft { user, .. } => {
                self.members.remove(user);
            }
            OrganizationEvent::RoleDefined { role, permissions, .. } => {
                self.roles.insert(role.clone(), *permissions);
            }
            OrganizationEvent::RoleRedefined { role, permissions, .. } => {
                self.roles.insert(role.clone(), permissions.to);
            }
            OrganizationEvent::RoleDeleted { role, .. } => {
                self.roles.remove(role);
            }
        }
    }
}

/// A role's name is part of addresses and logs: plain, and none of those that every organisation has.
fn check_role_name(name: &str) -> Result<(), OrganizationError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let problem = if !(1..=50).contains(&name.len()) || !name.chars().all(plain) {
        Some("must be 1 to 50 lower-case letters, digits and hyphens")
    } else if MemberRole::BUILT_IN.iter().any(|role| role.as_str() == name) {
        Some("is a role that every organisation has")
    } else {
        None
    };
    let invalid = |detail| OrganizationError::Invalid(vec![FieldError::new("/role", "field.invalid", detail)]);
    problem.map_or(Ok(()), |detail| Err(invalid(detail)))
}
