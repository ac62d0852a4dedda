//! The rules of an account, as sentences.

mod addresses;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::aggregate::DomainEvent;
use crate::change::Change;
use crate::testing::given;

const ID: Uuid = Uuid::from_u128(1);
const ADMIN: Uuid = Uuid::from_u128(2);
const ORGANIZATION: Uuid = Uuid::from_u128(9);
const TOKEN: Uuid = Uuid::from_u128(5);

fn at() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn text(text: &str) -> Personal<String> {
    Personal::new(ID, text.to_owned())
}

fn roles(roles: &[Role]) -> Roles {
    roles.iter().copied().collect()
}

fn register(email: &str, name: &str, first_admin: bool) -> AccountCommand {
    AccountCommand::Register {
        id: ID,
        organization: ORGANIZATION,
        email: email.to_owned(),
        name: name.to_owned(),
        locale: None,
        first_admin,
        at: at(),
    }
}

fn registered(granted: &[Role]) -> AccountEvent {
    AccountEvent::Registered {
        organization: ORGANIZATION,
        email: text("Ada@example.org"),
        name: text("Ada"),
        locale: Locale::Fr,
        roles: roles(granted),
        at: at(),
    }
}

fn suspend(by: Uuid) -> AccountCommand {
    AccountCommand::Suspend { reason: "spam".to_owned(), by, at: at() }
}

fn suspended() -> AccountEvent {
    AccountEvent::Suspended { reason: text("spam"), by: ADMIN, at: at() }
}

fn edit_profile(name: &str, locale: Locale) -> AccountCommand {
    AccountCommand::EditProfile { name: Some(name.to_owned()), locale: Some(locale), at: at() }
}

#[test]
fn who_registers_is_an_applicant_who_reads_french() {
    given::<Account>([]).when(register(" Ada@example.org ", " Ada ", false)).then([registered(&[Role::Applicant])]);
}

#[test]
fn the_first_admin_is_also_an_applicant() {
    given::<Account>([])
        .when(register("Ada@example.org", "Ada", true))
        .then([registered(&[Role::Applicant, Role::Admin])]);
}

#[test]
fn an_address_has_one_at_sign_two_sides_and_no_spaces() {
    let long = format!("a@{}.org", "b".repeat(249));
    for bad in ["", "ada", "@b", "a@", "a@b@c", "a b@c", "a@b..c", "a@.b", "a@b\0", "a\n@b", &long] {
        let result = Account::default().decide(register(bad, "Ada", false));
        let Err(AccountError::Invalid(errors)) = result else { panic!("{bad:?}: {result:?}") };
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].pointer, "/email");
    }
    for good in ["ada@example.org", "a+b.c@mail.example.fr", "é@exämple.org"] {
        assert!(Account::default().decide(register(good, "Ada", false)).is_ok(), "{good}");
    }
}

#[test]
fn a_name_is_not_empty() {
    let result = Account::default().decide(register("a@b.org", " ", false));
    let Err(AccountError::Invalid(errors)) = result else { panic!("{result:?}") };
    assert_eq!((errors[0].pointer.as_str(), errors[0].code.as_str()), ("/name", "field.too_short"));
}

#[test]
fn an_account_registers_once_and_before_that_it_is_not_there() {
    given::<Account>([registered(&[Role::Applicant])])
        .when(register("a@b.org", "Ada", false))
        .then_rejected(AccountError::AlreadyRegistered);
    given::<Account>([]).when(suspend(ADMIN)).then_rejected(AccountError::NotFound);
}

#[test]
fn a_profile_edit_records_what_was_and_what_is() {
    given::<Account>([registered(&[Role::Applicant])]).when(edit_profile("Ada L.", Locale::Fr)).then([
        AccountEvent::ProfileEdited {
            name: Some(Change { from: text("Ada"), to: text("Ada L.") }),
            locale: None,
            at: at(),
        },
    ]);
    given::<Account>([registered(&[Role::Applicant])]).when(edit_profile("Ada", Locale::Fr)).then_nothing();
}

#[test]
fn a_second_factor_is_switched_on_and_off() {
    let (registered, on, off) = (
        registered(&[Role::Applicant]),
        AccountEvent::TotpEnabled { at: at() },
        AccountEvent::TotpDisabled { at: at() },
    );
    let (enable, disable) = (|| AccountCommand::EnableTotp { at: at() }, || AccountCommand::DisableTotp { at: at() });
    given::<Account>([registered.clone()]).when(enable()).then([on.clone()]);
    given::<Account>([registered.clone(), on.clone()]).when(enable()).then_nothing();
    given::<Account>([registered.clone(), on.clone()]).when(disable()).then([off.clone()]);
    given::<Account>([registered, on, off]).when(disable()).then_nothing();
}

#[test]
fn a_picture_is_shown_until_it_is_taken_away() {
    let registered = registered(&[Role::Applicant]);
    let (changed, removed) = (AccountEvent::AvatarChanged { at: at() }, AccountEvent::AvatarRemoved { at: at() });
    let (change, remove) = (|| AccountCommand::ChangeAvatar { at: at() }, || AccountCommand::RemoveAvatar { at: at() });
    given::<Account>([registered.clone()]).when(remove()).then_nothing();
    given::<Account>([registered.clone()]).when(change()).then([changed.clone()]);
    given::<Account>([registered.clone(), changed.clone()]).when(change()).then([changed.clone()]);
    given::<Account>([registered.clone(), changed.clone()]).when(remove()).then([removed.clone()]);
    assert!(given::<Account>([registered.clone(), changed.clone()]).state().has_avatar());
    assert!(!given::<Account>([registered.clone(), changed, removed]).state().has_avatar());
    given::<Account>([registered, suspended()]).when(change()).then_rejected(AccountError::Suspended);
}

#[test]
fn who_is_shut_out_changes_nothing_but_takes_back_what_was_given_out() {
    let history = || given::<Account>([registered(&[Role::Applicant]), suspended()]);
    for command in [
        edit_profile("Eve", Locale::En),
        AccountCommand::ChangeAddress {
            before: "Ada@example.org".to_owned(),
            email: "eve@example.org".to_owned(),
            at: at(),
        },
        AccountCommand::ChangePassword { at: at() },
        AccountCommand::ResetPassword { email: "Ada@example.org".to_owned(), at: at() },
        AccountCommand::EnableTotp { at: at() },
        AccountCommand::IssueApiToken { token: TOKEN, scopes: vec![], expires_at: at(), at: at() },
    ] {
        history().when(command).then_rejected(AccountError::Suspended);
    }
    history()
        .when(AccountCommand::RevokeApiToken { token: TOKEN, at: at() })
        .then([AccountEvent::ApiTokenRevoked { token: TOKEN, at: at() }]);
}

#[test]
fn an_erased_account_is_not_there_any_more() {
    let erase = || AccountCommand::Erase { at: at() };
    let erased = AccountEvent::Erased { at: at() };
    given::<Account>([registered(&[Role::Applicant])]).when(erase()).then([erased.clone()]);
    given::<Account>([registered(&[Role::Applicant]), suspended()]).when(erase()).then([erased.clone()]);
    given::<Account>([registered(&[Role::Applicant, Role::Admin])])
        .when(erase())
        .then_rejected(AccountError::OwnRights);
    let history = || given::<Account>([registered(&[Role::Applicant]), erased.clone()]);
    assert!(!history().state().is_active());
    history().when(erase()).then_nothing();
    for command in [register("a@b.org", "Ada", false), suspend(ADMIN), edit_profile("Eve", Locale::En)] {
        history().when(command).then_rejected(AccountError::NotFound);
    }
}

#[test]
fn the_role_applicant_always_stays() {
    let (from, by) = (roles(&[Role::Applicant]), ADMIN);
    let change = |to: &[Role]| AccountCommand::ChangeRoles { roles: roles(to), by, at: at() };
    let to = roles(&[Role::Applicant, Role::Pro]);
    given::<Account>([registered(&[Role::Applicant])]).when(change(&[Role::Pro])).then([AccountEvent::RolesChanged {
        from,
        to,
        by,
        at: at(),
    }]);
    given::<Account>([registered(&[Role::Applicant])]).when(change(&[])).then_nothing();
}

#[test]
fn admins_keep_their_own_rights() {
    let admin = || given::<Account>([registered(&[Role::Applicant, Role::Admin])]);
    let change = |to: &[Role], by| AccountCommand::ChangeRoles { roles: roles(to), by, at: at() };
    admin().when(change(&[Role::Pro], ID)).then_rejected(AccountError::OwnRights);
    admin().when(suspend(ID)).then_rejected(AccountError::OwnRights);
    let (from, by) = (roles(&[Role::Applicant, Role::Admin]), ID);
    let to = roles(&[Role::Applicant, Role::Admin, Role::Pro]);
    admin().when(change(&[Role::Admin, Role::Pro], ID)).then([AccountEvent::RolesChanged { from, to, by, at: at() }]);
}

#[test]
fn suspending_and_reactivating_are_sets() {
    let reactivate = || AccountCommand::Reactivate { reason: "sorry".to_owned(), by: ADMIN, at: at() };
    let reactivated = AccountEvent::Reactivated { reason: text("sorry"), by: ADMIN, at: at() };
    let account = registered(&[Role::Applicant]);
    given::<Account>([account.clone()]).when(suspend(ADMIN)).then([suspended()]);
    given::<Account>([account.clone(), suspended()]).when(suspend(ADMIN)).then_nothing();
    given::<Account>([account.clone(), suspended()]).when(reactivate()).then([reactivated]);
    given::<Account>([account]).when(reactivate()).then_nothing();
}

#[test]
fn a_suspended_account_edits_nothing() {
    given::<Account>([registered(&[Role::Applicant]), suspended()])
        .when(edit_profile("Eve", Locale::En))
        .then_rejected(AccountError::Suspended);
}

#[test]
fn people_edit_themselves_and_admins_manage_them() {
    let actor = |id, roles: &[Role]| Actor::new(id, roles.iter().copied().collect(), ORGANIZATION);
    let account = given::<Account>([registered(&[Role::Applicant])]).state();
    let (me, admin) = (actor(ID, &[Role::Applicant]), actor(ADMIN, &[Role::Applicant, Role::Admin]));
    let edit = edit_profile("Eve", Locale::En);
    assert_eq!(account.authorize(&me, &edit), Ok(Role::Applicant));
    assert_eq!(account.authorize(&admin, &edit), Err(Denial::Forbidden));
    assert_eq!(account.authorize(&admin, &suspend(ADMIN)), Ok(Role::Admin));
    assert_eq!(account.authorize(&me, &suspend(ID)), Err(Denial::Forbidden));
    assert_eq!(Account::default().authorize(&admin, &suspend(ADMIN)), Err(Denial::Hidden));
    let absent = Account::default();
    assert_eq!(absent.authorize(&me, &register("a@b.org", "Eve", false)), Ok(Role::Applicant));
    assert_eq!(absent.authorize(&me, &register("a@b.org", "Eve", true)), Err(Denial::Forbidden));
}

#[test]
fn no_debug_output_shows_who_it_is() {
    let account = given::<Account>([registered(&[Role::Applicant])]).state();
    let shown = format!("{account:?} {:?}", register("Ada@example.org", "Ada", false));
    assert!(!shown.contains("Ada"), "{shown}");
}

#[test]
fn an_erasure_by_admins_takes_two_of_them() {
    let other = Uuid::from_u128(3);
    let request = |by| AccountCommand::RequestErasure { reason: "a court order".to_owned(), by, at: at() };
    let approve = |by, at| AccountCommand::ApproveErasure { by, at };
    let requested = AccountEvent::ErasureRequested { reason: text("a court order"), by: ADMIN, at: at() };
    let withdrawn = AccountEvent::ErasureWithdrawn { by: other, at: at() };
    let ada = || registered(&[Role::Applicant]);
    let decide = |history: Vec<AccountEvent>, command| given::<Account>(history).state().decide(command);
    assert_eq!(decide(vec![ada()], request(ADMIN)), Ok(vec![requested.clone()]));
    assert_eq!(decide(vec![ada()], approve(other, at())), Err(AccountError::ErasureNotRequested));
    let asked = || vec![ada(), requested.clone()];
    assert_eq!(decide(asked(), request(other)), Ok(vec![]));
    assert_eq!(decide(asked(), approve(ADMIN, at())), Err(AccountError::SecondApprovalRequired));
    assert_eq!(decide(asked(), approve(other, at())), Ok(vec![AccountEvent::Erased { at: at() }]));
    let late = at() + chrono::TimeDelta::days(7);
    assert_eq!(decide(asked(), approve(other, late)), Err(AccountError::ErasureNotRequested));
    let withdraw = || AccountCommand::WithdrawErasure { by: other, at: at() };
    assert_eq!(decide(asked(), withdraw()), Ok(vec![withdrawn.clone()]));
    assert_eq!(decide(vec![ada()], withdraw()), Ok(vec![]));
    let taken_back = vec![ada(), requested.clone(), withdrawn];
    assert_eq!(decide(taken_back, approve(other, at())), Err(AccountError::ErasureNotRequested));
    let admin = vec![registered(&[Role::Applicant, Role::Admin])];
    assert_eq!(decide(admin, request(other)), Err(AccountError::OwnRights));
    // Whoever became an admin meanwhile stays.
    let promoted = AccountEvent::RolesChanged {
        from: roles(&[Role::Applicant]),
        to: roles(&[Role::Applicant, Role::Admin]),
        by: ADMIN,
        at: at(),
    };
    assert_eq!(decide(vec![ada(), requested.clone(), promoted], approve(other, at())), Err(AccountError::OwnRights));
}

#[test]
fn addresses_that_differ_in_case_are_one() {
    assert_eq!(canonical_address(" Ada@Example.ORG"), canonical_address("ada@example.org"));
}

#[test]
fn every_event_ever_written_is_read_back() {
    let (by, at) = (ADMIN, at());
    let samples = [
        registered(&[Role::Applicant, Role::Admin]),
        AccountEvent::ProfileEdited {
            name: Some(Change { from: text("Ada"), to: text("Ada L.") }),
            locale: Some(Change { from: Locale::Fr, to: Locale::En }),
            at,
        },
        AccountEvent::AvatarChanged { at },
        AccountEvent::AvatarRemoved { at },
        AccountEvent::VerificationRequested { at },
        AccountEvent::AddressVerified { at },
        AccountEvent::AddressChanged { from: text("Ada@example.org"), to: text("ada@example.com"), at },
        AccountEvent::AddressRequested { to: text("ada@example.com"), at },
        AccountEvent::AddressReused { at },
        AccountEvent::PasswordChanged { at },
        AccountEvent::PasswordResetRequested { at },
        AccountEvent::PasswordReset { at },
        AccountEvent::TotpEnabled { at },
        AccountEvent::TotpDisabled { at },
        AccountEvent::ApiTokenIssued { token: TOKEN, scopes: vec!["read".to_owned()], expires_at: at, at },
        AccountEvent::ApiTokenRevoked { token: TOKEN, at },
        AccountEvent::RolesChanged {
            from: roles(&[Role::Applicant]),
            to: roles(&[Role::Applicant, Role::Auditor]),
            by,
            at,
        },
        suspended(),
        AccountEvent::Reactivated { reason: text("sorry"), by, at },
        AccountEvent::ErasureRequested { reason: text("a court order"), by, at },
        AccountEvent::ErasureWithdrawn { by, at },
        AccountEvent::Erased { at },
    ];
    crate::golden::check::<Account>(&samples);
    assert_eq!(samples.each_ref().map(AccountEvent::event_type), AccountEvent::TYPES);
}

fn command() -> impl Strategy<Value = AccountCommand> {
    let by = || prop_oneof![Just(ID), Just(ADMIN)];
    let some_roles = proptest::sample::subsequence(Role::ALL.to_vec(), 0..=7);
    let reason = || "why".to_owned();
    prop_oneof![
        ("[ab ]{1,2}", any::<bool>())
            .prop_map(|(name, french)| { edit_profile(&name, if french { Locale::Fr } else { Locale::En }) }),
        (some_roles, by()).prop_map(|(some, by)| AccountCommand::ChangeRoles { roles: roles(&some), by, at: at() }),
        by().prop_map(move |by| AccountCommand::Suspend { reason: reason(), by, at: at() }),
        by().prop_map(move |by| AccountCommand::Reactivate { reason: reason(), by, at: at() }),
    ]
}

proptest! {
    #[test]
    fn replays_are_equal_and_repeating_a_command_changes_nothing(
        commands in proptest::collection::vec(command(), 0..40),
    ) {
        let mut account = given::<Account>([registered(&[Role::Applicant, Role::Admin])]).state();
        let mut replayed = account.clone();
        for command in commands {
            for event in account.decide(command.clone()).unwrap_or_default() {
                account.apply(&event);
                let stored = serde_json::to_string(&event).unwrap();
                replayed.apply(&serde_json::from_str(&stored).unwrap());
                prop_assert_eq!(account.decide(command.clone()), Ok(vec![]));
            }
            prop_assert_eq!(&replayed, &account);
            prop_assert!(account.roles().contains(Role::Applicant));
        }
    }
}
