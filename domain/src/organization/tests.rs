//! The rules of an organisation, as sentences.

mod properties;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::access::Permission;
use crate::change::Change;
use crate::personal::Personal;
use crate::rejection::Rejection;
use crate::testing::given;

const ADA: Uuid = Uuid::from_u128(1);
const EVE: Uuid = Uuid::from_u128(2);
const BOB: Uuid = Uuid::from_u128(3);
const INVITATION: Uuid = Uuid::from_u128(100);
const ADDRESS: &str = "eve@capitune.test";

fn at() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn created() -> OrganizationEvent {
    OrganizationEvent::Created { name: "Les Amis".to_owned(), kind: Kind::Association, by: ADA, at: at() }
}

fn invited(role: MemberRole) -> OrganizationEvent {
    OrganizationEvent::MemberInvited {
        invitation: INVITATION,
        address: Personal::new(INVITATION, ADDRESS.to_owned()),
        role,
        expires_at: at() + INVITED_FOR,
        by: ADA,
        at: at(),
    }
}

fn joined(user: Uuid, role: MemberRole) -> OrganizationEvent {
    OrganizationEvent::MemberJoined { invitation: INVITATION, user, role, at: at() }
}

fn invite(address: &str, role: MemberRole, by: Uuid) -> OrganizationCommand {
    OrganizationCommand::Invite { invitation: INVITATION, address: address.to_owned(), role, by, at: at() }
}

fn accept(user: Uuid, at: DateTime<Utc>) -> OrganizationCommand {
    OrganizationCommand::Accept { invitation: INVITATION, address: ADDRESS.to_owned(), user, at }
}

fn change_role(user: Uuid, role: MemberRole, by: Uuid) -> OrganizationCommand {
    OrganizationCommand::ChangeRole { user, role, by, at: at() }
}

fn remove(user: Uuid, by: Uuid) -> OrganizationCommand {
    OrganizationCommand::Remove { user, by, at: at() }
}

fn set(permissions: &[Permission]) -> Permissions {
    permissions.iter().copied().collect()
}

fn define(role: &str, permissions: &[Permission], by: Uuid) -> OrganizationCommand {
    OrganizationCommand::DefineRole { role: role.to_owned(), permissions: set(permissions), by, at: at() }
}

fn defined(role: &str, permissions: &[Permission]) -> OrganizationEvent {
    OrganizationEvent::RoleDefined { role: role.to_owned(), permissions: set(permissions), by: ADA, at: at() }
}

fn custom(role: &str) -> MemberRole {
    MemberRole::Custom(role.to_owned())
}

#[test]
fn who_opens_it_is_its_admin() {
    let create =
        OrganizationCommand::Create { name: " Les Amis ".to_owned(), kind: Kind::Association, by: ADA, at: at() };
    given::<Organization>([]).when(create.clone()).then([created()]);
    given::<Organization>([created()]).when(create).then_rejected(OrganizationError::AlreadyCreated);
    let all: Permissions = Permission::ALL.into_iter().collect();
    assert_eq!(given::<Organization>([created()]).state().permissions_of(ADA), Some(all));
    assert_eq!(given::<Organization>([created()]).state().permissions_of(EVE), None);
    given::<Organization>([]).when(remove(ADA, ADA)).then_rejected(OrganizationError::NotFound);
    for name in ["", "  ", "a\0b", &"x".repeat(201)] {
        let create = OrganizationCommand::Create { name: name.to_owned(), kind: Kind::Other, by: ADA, at: at() };
        let refused = Organization::default().decide(create).unwrap_err();
        assert_eq!(refused.code(), "organization.invalid", "{name}");
    }
}

#[test]
fn it_is_renamed_once() {
    let edit = |name: &str, kind| OrganizationCommand::Edit { name: Some(name.to_owned()), kind, at: at() };
    let name = Some(Change { from: "Les Amis".to_owned(), to: "Nous".to_owned() });
    let renamed = OrganizationEvent::Edited { name, kind: None, at: at() };
    given::<Organization>([created()]).when(edit("Nous ", None)).then([renamed]);
    given::<Organization>([created()]).when(edit("Les Amis", Some(Kind::Association))).then_nothing();
}

#[test]
fn an_invitation_is_sent_once_to_an_address() {
    let pro = MemberRole::Pro;
    given::<Organization>([created()]).when(invite(ADDRESS, pro.clone(), ADA)).then([invited(pro.clone())]);
    let again = || given::<Organization>([created(), invited(MemberRole::Pro)]);
    again().when(invite(" EVE@capitune.test", pro.clone(), ADA)).then_nothing();
    again().when(invite(ADDRESS, MemberRole::Member, ADA)).then_rejected(OrganizationError::AlreadyInvited);
    let later = at() + INVITED_FOR;
    let OrganizationCommand::Invite { invitation, address, role, by, .. } = invite(ADDRESS, pro, ADA) else { panic!() };
    let command = OrganizationCommand::Invite { invitation, address, role, by, at: later };
    assert_eq!(again().state().decide(command).unwrap().len(), 1, "the first has expired");
    for address in ["", "eve", "@x", "a b@x"] {
        let refused = again().state().decide(invite(address, MemberRole::Member, ADA)).unwrap_err();
        assert_eq!(refused.code(), "organization.invalid", "{address}");
    }
    let unknown = again().state().decide(invite(ADDRESS, custom("nobody"), ADA)).unwrap_err();
    assert_eq!(unknown.code(), "organization.invalid");
}

#[test]
fn an_invitation_is_good_for_a_while_and_once() {
    let pro = MemberRole::Pro;
    let open = || given::<Organization>([created(), invited(MemberRole::Pro)]);
    open().when(accept(EVE, at())).then([joined(EVE, pro.clone())]);
    open().when(accept(EVE, at() + INVITED_FOR)).then_rejected(OrganizationError::InvitationNotFound);
    open().when(accept(ADA, at())).then_rejected(OrganizationError::AlreadyMember);
    given::<Organization>([created(), invited(pro.clone()), joined(EVE, pro)])
        .when(accept(BOB, at()))
        .then_rejected(OrganizationError::InvitationNotFound);
    let revoke = OrganizationCommand::Revoke { invitation: INVITATION, by: ADA, at: at() };
    let revoked = OrganizationEvent::InvitationRevoked { invitation: INVITATION, by: ADA, at: at() };
    open().when(revoke.clone()).then([revoked.clone()]);
    let closed = || given::<Organization>([created(), invited(MemberRole::Pro), revoked.clone()]);
    closed().when(accept(EVE, at())).then_rejected(OrganizationError::InvitationNotFound);
    closed().when(revoke).then_rejected(OrganizationError::InvitationNotFound);
    let decline = OrganizationCommand::Decline { invitation: INVITATION, address: ADDRESS.to_owned(), at: at() };
    open().when(decline).then([OrganizationEvent::InvitationDeclined { invitation: INVITATION, at: at() }]);
}

#[test]
fn there_is_an_end_to_invitations_members_and_roles() {
    let another = |n: u128| {
        let id = Uuid::from_u128(1000 + n);
        let address = Personal::new(id, format!("p{n}@capitune.test"));
        let (role, expires_at) = (MemberRole::Member, at() + INVITED_FOR);
        OrganizationEvent::MemberInvited { invitation: id, address, role, expires_at, by: ADA, at: at() }
    };
    let full = given::<Organization>([created()].into_iter().chain((0..100).map(another)));
    full.when(invite(ADDRESS, MemberRole::Member, ADA))
        .then_rejected(OrganizationError::Full { what: "open invitations" });
    let joins = (0..1999).map(|n| joined(Uuid::from_u128(1000 + n), MemberRole::Member));
    let crowd = [created()].into_iter().chain(joins).chain([invited(MemberRole::Member)]);
    given::<Organization>(crowd).when(accept(EVE, at())).then_rejected(OrganizationError::Full { what: "members" });
    let roles = (0..50).map(|n| defined(&format!("r{n}"), &[]));
    given::<Organization>([created()].into_iter().chain(roles))
        .when(define("one-more", &[], ADA))
        .then_rejected(OrganizationError::Full { what: "roles" });
}

#[test]
fn the_last_admin_stays() {
    let alone = || given::<Organization>([created(), joined(EVE, MemberRole::Pro)]);
    alone().when(remove(ADA, ADA)).then_rejected(OrganizationError::LastAdmin);
    alone().when(change_role(ADA, MemberRole::Pro, ADA)).then_rejected(OrganizationError::LastAdmin);
    let two = || given::<Organization>([created(), joined(EVE, MemberRole::Admin)]);
    two().when(remove(ADA, ADA)).then([OrganizationEvent::MemberLeft { user: ADA, at: at() }]);
    two().when(remove(ADA, EVE)).then([OrganizationEvent::MemberRemoved { user: ADA, by: EVE, at: at() }]);
    let (from, to) = (MemberRole::Admin, MemberRole::Pro);
    let demoted = OrganizationEvent::MemberRoleChanged { user: ADA, from, to, by: EVE, at: at() };
    two().when(change_role(ADA, MemberRole::Pro, EVE)).then([demoted]);
    // Whom nobody may keep goes all the same.
    let forget = OrganizationCommand::Forget { user: ADA, at: at() };
    alone().when(forget.clone()).then([OrganizationEvent::MemberLeft { user: ADA, at: at() }]);
    given::<Organization>([]).when(forget).then_rejected(OrganizationError::NotFound);
    alone().when(OrganizationCommand::Forget { user: BOB, at: at() }).then_nothing();
    alone().when(remove(BOB, ADA)).then_rejected(OrganizationError::MemberNotFound);
    alone().when(change_role(BOB, MemberRole::Pro, ADA)).then_rejected(OrganizationError::MemberNotFound);
    alone().when(change_role(EVE, MemberRole::Pro, ADA)).then_nothing();
}

#[test]
fn nobody_gives_or_takes_what_they_do_not_have() {
    let manager = &[Permission::ManageMembers, Permission::ReadDossiers];
    let with_manager = || {
        let history = [created(), defined("manager", manager), joined(EVE, custom("manager"))];
        given::<Organization>(history.into_iter().chain([joined(BOB, MemberRole::Member)]))
    };
    let beyond = || OrganizationError::BeyondOwnPermissions;
    with_manager().when(invite("z@z.z", MemberRole::Admin, EVE)).then_rejected(beyond());
    with_manager().when(invite("z@z.z", MemberRole::Pro, EVE)).then_rejected(beyond());
    with_manager().when(change_role(EVE, MemberRole::Admin, EVE)).then_rejected(beyond());
    with_manager().when(change_role(BOB, MemberRole::Pro, EVE)).then_rejected(beyond());
    with_manager().when(define("manager", &Permission::ALL, EVE)).then_rejected(beyond());
    let two_admins = || {
        let history = [created(), defined("manager", manager), joined(EVE, custom("manager"))];
        given::<Organization>(history.into_iter().chain([joined(BOB, MemberRole::Admin)]))
    };
    two_admins().when(remove(BOB, EVE)).then_rejected(beyond());
    two_admins().when(change_role(BOB, MemberRole::Member, EVE)).then_rejected(beyond());
    assert!(with_manager().state().decide(invite("z@z.z", custom("manager"), EVE)).is_ok());
    assert!(with_manager().state().decide(remove(BOB, EVE)).is_ok());
    // Who runs the instance is let in by the policy, without being a member.
    assert!(with_manager().state().decide(invite("z@z.z", MemberRole::Admin, Uuid::from_u128(9))).is_ok());
}

#[test]
fn a_role_is_what_it_was_last_defined_as() {
    let assigner = [Permission::AssignDossiers];
    given::<Organization>([created()]).when(define("assigner", &assigner, ADA)).then([defined("assigner", &assigner)]);
    let with_role = || given::<Organization>([created(), defined("assigner", &[Permission::AssignDossiers])]);
    with_role().when(define("assigner", &assigner, ADA)).then_nothing();
    let permissions = Change { from: set(&assigner), to: set(&[]) };
    let redefined = OrganizationEvent::RoleRedefined { role: "assigner".to_owned(), permissions, by: ADA, at: at() };
    with_role().when(define("assigner", &[], ADA)).then([redefined.clone()]);
    let history = [created(), defined("assigner", &assigner), joined(EVE, custom("assigner"))];
    assert_eq!(given::<Organization>(history.clone()).state().permissions_of(EVE), Some(set(&assigner)));
    let after = given::<Organization>(history.clone().into_iter().chain([redefined])).state();
    assert_eq!(after.permissions_of(EVE), Some(set(&[])));
    let delete = |role: &str| OrganizationCommand::DeleteRole { role: role.to_owned(), at: at() };
    given::<Organization>(history).when(delete("assigner")).then_rejected(OrganizationError::RoleInUse);
    given::<Organization>([created(), defined("assigner", &assigner), invited(custom("assigner"))])
        .when(delete("assigner"))
        .then_rejected(OrganizationError::RoleInUse);
    with_role()
        .when(delete("assigner"))
        .then([OrganizationEvent::RoleDeleted { role: "assigner".to_owned(), at: at() }]);
    with_role().when(delete("admin")).then_rejected(OrganizationError::RoleNotFound);
    for name in ["", "Admin", "admin", "member", "a b", "é", &"x".repeat(51)] {
        let refused = with_role().state().decide(define(name, &[], ADA)).unwrap_err();
        assert_eq!(refused.code(), "organization.invalid", "{name}");
    }
}

#[test]
fn who_may_give_which_command() {
    let history = [created(), defined("manager", &[Permission::ManageMembers]), joined(BOB, custom("manager"))];
    let organization = given::<Organization>(history.into_iter().chain([invited(MemberRole::Pro)])).state();
    let eve = Actor::new(EVE, [Role::Applicant].into_iter().collect(), Uuid::nil());
    let actor = |id| Actor { id, ..eve };
    let edit = || OrganizationCommand::Edit { name: None, kind: Some(Kind::Other), at: at() };
    for (id, command, expected) in [
        (ADA, edit(), Ok(Role::Applicant)),
        (BOB, edit(), Err(Denial::Forbidden)),
        (EVE, edit(), Err(Denial::Hidden)),
        (BOB, invite("z@z.z", MemberRole::Member, BOB), Ok(Role::Applicant)),
        (EVE, invite("z@z.z", MemberRole::Member, EVE), Err(Denial::Hidden)),
        (BOB, remove(BOB, BOB), Ok(Role::Applicant)),
        (EVE, remove(EVE, EVE), Err(Denial::Hidden)),
        (BOB, define("x", &[], BOB), Err(Denial::Forbidden)),
        (EVE, accept(EVE, at()), Ok(Role::Applicant)),
    ] {
        assert_eq!(organization.authorize(&actor(id), &command), expected, "{id} {command:?}");
    }
    let other = OrganizationCommand::Accept {
        invitation: INVITATION,
        address: "bob@capitune.test".to_owned(),
        user: EVE,
        at: at(),
    };
    assert_eq!(organization.authorize(&eve, &other), Err(Denial::Hidden), "it is for another address");
    let admin = Actor::new(EVE, [Role::Admin].into_iter().collect(), Uuid::nil());
    assert_eq!(organization.authorize(&admin, &change_role(BOB, MemberRole::Admin, EVE)), Ok(Role::Admin));
    assert_eq!(organization.authorize(&admin, &edit()), Err(Denial::Forbidden));
    assert_eq!(Organization::Absent.authorize(&eve, &edit()), Err(Denial::Hidden));
}

#[test]
fn every_event_ever_written_is_read_back() {
    let change = Change { from: "Les Amis".to_owned(), to: "Nous".to_owned() };
    let kind = Some(Change { from: Kind::Association, to: Kind::Other });
    crate::golden::check::<Organization>(&[
        created(),
        OrganizationEvent::Edited { name: Some(change), kind, at: at() },
        invited(MemberRole::Pro),
        OrganizationEvent::InvitationRevoked { invitation: INVITATION, by: ADA, at: at() },
        OrganizationEvent::InvitationDeclined { invitation: INVITATION, at: at() },
        joined(EVE, custom("assigner")),
        OrganizationEvent::MemberRoleChanged {
            user: EVE,
            from: custom("assigner"),
            to: MemberRole::Admin,
            by: ADA,
            at: at(),
        },
        OrganizationEvent::MemberRemoved { user: EVE, by: ADA, at: at() },
        OrganizationEvent::MemberLeft { user: EVE, at: at() },
        defined("assigner", &[Permission::AssignDossiers]),
        OrganizationEvent::RoleRedefined {
            role: "assigner".to_owned(),
            permissions: Change { from: set(&[Permission::AssignDossiers]), to: set(&[]) },
            by: ADA,
            at: at(),
        },
        OrganizationEvent::RoleDeleted { role: "assigner".to_owned(), at: at() },
    ]);
}

#[test]
fn an_expired_invitation_does_not_stay_for_ever() {
    let organization = given::<Organization>([created(), invited(MemberRole::Pro)]);
    let later = at() + INVITED_FOR + TimeDelta::days(1);
    let next = OrganizationEvent::MemberInvited {
        invitation: Uuid::from_u128(101),
        address: Personal::new(Uuid::from_u128(101), "z@z.z".to_owned()),
        role: MemberRole::Member,
        expires_at: later + INVITED_FOR,
        by: ADA,
        at: later,
    };
    let mut state = organization.state();
    state.apply(&next);
    assert_eq!(state.charter().unwrap().invitations.len(), 1);
}
