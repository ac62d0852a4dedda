//! Addresses: proved, changed, and asked about by whoever knows them.

use chrono::TimeDelta;

use super::*;

const OWN: &str = "Ada@example.org";
const OTHER: &str = "ada@b.org";

type Ask = fn(DateTime<Utc>) -> AccountCommand;

fn verified() -> AccountEvent {
    AccountEvent::AddressVerified { at: at() }
}

fn changed() -> AccountEvent {
    AccountEvent::AddressChanged { from: text(OWN), to: text(OTHER), at: at() }
}

fn change(before: &str, email: &str) -> AccountCommand {
    AccountCommand::ChangeAddress { before: before.to_owned(), email: email.to_owned(), at: at() }
}

fn verify(email: &str) -> AccountCommand {
    AccountCommand::VerifyAddress { email: email.to_owned(), at: at() }
}

fn reset(email: &str) -> AccountCommand {
    AccountCommand::ResetPassword { email: email.to_owned(), at: at() }
}

#[test]
fn an_address_is_verified_once_and_anew_after_it_changed() {
    let registered = registered(&[Role::Applicant]);
    let request = || AccountCommand::RequestVerification { at: at() };
    given::<Account>([registered.clone()]).when(verify("ada@EXAMPLE.org")).then([verified()]);
    given::<Account>([registered.clone(), verified()]).when(verify(OWN)).then_nothing();
    given::<Account>([registered.clone(), verified()]).when(request()).then_rejected(AccountError::AlreadyVerified);
    given::<Account>([registered.clone(), verified()]).when(change(OWN, " ada@b.org ")).then([changed()]);
    given::<Account>([registered.clone()]).when(change(OWN, OWN)).then_nothing();
    assert!(!given::<Account>([registered.clone(), verified(), changed()]).state().is_verified());
    // What is given back is what the account has.
    let history = given::<Account>([registered, changed()]);
    history.when(change(OWN, "ada@c.org")).then_rejected(AccountError::OtherAddress);
}

#[test]
fn what_was_sent_to_one_address_proves_no_other() {
    let history = || given::<Account>([registered(&[Role::Applicant]), verified(), changed()]);
    history().when(verify(OWN)).then_rejected(AccountError::OtherAddress);
    history().when(verify(OTHER)).then([verified()]);
    // Who resets a password by a message has proved to read the address, but only that one.
    history().when(reset(OTHER)).then([AccountEvent::PasswordReset { at: at() }]);
    history().when(reset(OWN)).then([AccountEvent::PasswordChanged { at: at() }]);
    let after = |event| given::<Account>([registered(&[Role::Applicant]), changed(), event]).state().is_verified();
    assert!(after(AccountEvent::PasswordReset { at: at() }));
    assert!(!after(AccountEvent::PasswordChanged { at: at() }));
}

#[test]
fn nobody_is_flooded_with_messages_and_one_kind_does_not_keep_away_another() {
    let later = |minutes| at() + TimeDelta::minutes(minutes);
    let asks: [(AccountEvent, Ask); 3] = [
        (AccountEvent::VerificationRequested { at: at() }, |at| AccountCommand::RequestVerification { at }),
        (AccountEvent::AddressReused { at: at() }, |at| AccountCommand::NoteAddressReuse { at }),
        (AccountEvent::PasswordResetRequested { at: at() }, |at| AccountCommand::RequestPasswordReset { at }),
    ];
    for (asked, (event, _)) in asks.iter().enumerate() {
        let account = given::<Account>([registered(&[Role::Applicant]), event.clone()]).state();
        for (number, (_, ask)) in asks.iter().enumerate() {
            let expected = if number == asked { 0 } else { 1 };
            assert_eq!(account.decide(ask(later(1))).unwrap().len(), expected, "{event:?}");
            assert_eq!(account.decide(ask(later(2))).unwrap().len(), 1);
        }
    }
}

#[test]
fn an_address_that_is_to_be_proved_first_takes_its_place_once_it_is() {
    let request = |email: &str, at| AccountCommand::RequestAddress { email: email.to_owned(), at };
    let confirm = |before: &str, email: &str| AccountCommand::ConfirmAddress {
        before: before.to_owned(),
        email: email.to_owned(),
        at: at(),
    };
    let requested = |email: &str, at| AccountEvent::AddressRequested { to: text(email), at };
    let registered = || registered(&[Role::Applicant]);
    given::<Account>([registered()]).when(request(OTHER, at())).then([requested(OTHER, at())]);
    given::<Account>([registered()]).when(request("ADA@example.org", at())).then_nothing();
    assert!(given::<Account>([registered()]).state().decide(request("ada", at())).is_err());
    let asked = || given::<Account>([registered(), verified(), requested(OTHER, at())]);
    assert!(asked().state().is_verified() && asked().state().email() == Some(&text(OWN)));
    // The same again only after a while, another at once.
    asked().when(request(OTHER, at() + TimeDelta::minutes(1))).then_nothing();
    let later = at() + TimeDelta::minutes(3);
    asked().when(request(OTHER, later)).then([requested(OTHER, later)]);
    asked().when(request("ada@c.org", at())).then([requested("ada@c.org", at())]);
    asked().when(confirm(OWN, "ADA@b.org")).then([changed(), verified()]);
    asked().when(confirm(OWN, "ada@c.org")).then_rejected(AccountError::OtherAddress);
    asked().when(confirm(OTHER, OTHER)).then_rejected(AccountError::OtherAddress);
    let done = given::<Account>([registered(), requested(OTHER, at()), changed(), verified()]);
    assert!(done.state().is_verified());
    let done = given::<Account>([registered(), requested(OTHER, at()), changed(), verified()]);
    done.when(confirm(OTHER, OTHER)).then_rejected(AccountError::OtherAddress);
}
