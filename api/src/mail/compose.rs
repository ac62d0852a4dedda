//! From an event to a message: for whom it is, whether it is still wanted, and the link in it.

use chrono::{TimeDelta, Utc};
use domain::account::{Account, AccountEvent, Locale};
use domain::organization::Organization;
use event_store::StoreError;
use projections::mail::Template;
use uuid::Uuid;

use super::letter::Letter;
use super::link::{self, Purpose};
use super::sender::{Delivery, MailSender};
use crate::auth::{ADDRESS, address_hash, stream};

/// How long a link is good.
const VERIFY_WITHIN: TimeDelta = TimeDelta::days(3);
pub(super) const RESET_WITHIN: TimeDelta = TimeDelta::hours(1);

/// A message and the address it goes to.
pub(super) struct Composed {
    pub(super) to: String,
    pub(super) letter: Letter,
}

impl MailSender {
    /// The message that a delivery stands for; nothing when what it was for has passed.
    pub(super) async fn compose(&self, delivery: &Delivery) -> Result<Option<Composed>, StoreError> {
        let (template, id) = (delivery.template, delivery.account);
        if template == Template::Invitation {
            return self.compose_invitation(id).await;
        }
        let (account, _) = self.commands.state::<Account>(id).await?;
        let Some(address) = account.email().and_then(|email| email.get()).cloned() else { return Ok(None) };
        if account.is_erased() || !is_wanted(template, &account) {
            return Ok(None);
        }
        let vault = self.store.vault();
        let now = Utc::now();
        let link = match template {
            Template::VerifyAddress => {
                let bound_to = address_hash(vault, &address);
                let token = link::issue(vault, Purpose::VerifyAddress, id, now + VERIFY_WITHIN, &bound_to);
                Some(format!("{}/api/auth/verify-email?token={token}", self.public_url))
            }
            Template::RequestedAddress => return self.compose_requested(id, &account).await,
            Template::ResetPassword => {
                let password_hash = self.password_hash(id).await?;
                let bound_to = link::resetting(vault, &address, password_hash.as_deref());
                let token = link::issue(vault, Purpose::ResetPassword, id, now + RESET_WITHIN, &bound_to);
                Some(format!("{}/reset-password?token={token}", self.public_url))
            }
            _ => None,
        };
        let to = match template {
            Template::AddressChanged => self.address_before(delivery).await?,
            _ => Some(address),
        };
        // Whoever has not proved the address could make us say anything by a name, to anybody.
        let proved = account.is_verified() && template != Template::AddressChanged;
        let name = account.name().and_then(|name| name.get()).filter(|_| proved);
        let locale = account.locale().unwrap_or(Locale::Fr);
        let letter = Letter::write(template, locale, name.map(String::as_str), link.as_deref());
        Ok(to.map(|to| Composed { to, letter }))
    }

    /// The link that proves an address which an account is to have; whose it is already, hears that somebody tried.
    async fn compose_requested(&self, id: Uuid, account: &Account) -> Result<Option<Composed>, StoreError> {
        let requested = account.requested_email().and_then(|email| email.get()).cloned();
        let Some(to) = requested.filter(|_| account.is_active()) else { return Ok(None) };
        let (vault, locale) = (self.store.vault(), account.locale().unwrap_or_default());
        let hash = address_hash(vault, &to);
        if self.store.claim_owner(ADDRESS, &hash).await?.is_some_and(|owner| owner != id) {
            return Ok(Some(Composed { to, letter: Letter::write(Template::AddressReused, locale, None, None) }));
        }
        let token = link::issue(vault, Purpose::VerifyAddress, id, Utc::now() + VERIFY_WITHIN, &hash);
        let link = format!("{}/api/auth/verify-email?token={token}", self.public_url);
        let letter = Letter::write(Template::RequestedAddress, locale, None, Some(&link));
        Ok(Some(Composed { to, letter }))
    }

    /// To whom an invitation is addressed, in the language of who invites. What anybody can call an organisation or
    /// themselves is not in it.
    async fn compose_invitation(&self, id: Uuid) -> Result<Option<Composed>, StoreError> {
        let Some(organization) = self.invitations.organization(id).await? else { return Ok(None) };
        let (organization, _) = self.commands.state::<Organization>(organization).await?;
        let Some(invitation) = organization.charter().and_then(|charter| charter.invitations.get(&id)) else {
            return Ok(None);
        };
        let Some(to) = invitation.address.get().cloned() else { return Ok(None) };
        let (inviter, _) = self.commands.state::<Account>(invitation.by).await?;
        let link = format!("{}/invitations", self.public_url);
        let locale = inviter.locale().unwrap_or_default();
        Ok(Some(Composed { to, letter: Letter::write(Template::Invitation, locale, None, Some(&link)) }))
    }

    async fn password_hash(&self, account: Uuid) -> Result<Option<String>, StoreError> {
        let hash = "select password_hash from credentials where account_id = $1";
        Ok(sqlx::query_scalar(hash).bind(account).fetch_optional(&self.writes).await?)
    }

    /// The address that was replaced by the event that a delivery stands for.
    async fn address_before(&self, delivery: &Delivery) -> Result<Option<String>, StoreError> {
        let stream = stream(delivery.account);
        let events = self.store.read_stream(stream, 0).await?;
        let Some(envelope) = events.iter().find(|event| event.position == delivery.position) else { return Ok(None) };
        let event = envelope.decode::<Account>().map_err(|error| StoreError::Broken(error.to_string()))?;
        let AccountEvent::AddressChanged { from, .. } = event else { return Ok(None) };
        Ok(self.store.vault().reveal_as(&[(stream, from)]).await?.pop().flatten())
    }
}

fn is_wanted(template: Template, account: &Account) -> bool {
    match template {
        Template::VerifyAddress => account.is_active() && !account.is_verified(),
        Template::ResetPassword | Template::AddressReused | Template::Reactivated => account.is_active(),
        Template::Suspended => !account.is_active(),
        Template::PasswordChanged
        | Template::AddressChanged
        | Template::TotpEnabled
        | Template::TotpDisabled
        | Template::RequestedAddress
        | Template::Invitation => true,
    }
}
