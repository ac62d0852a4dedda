//! The outbox: which messages the facts about accounts and organisations call for. No address and no text is kept.

use domain::EventEnvelope;
use domain::account::{Account, AccountEvent};
use domain::envelope::DecodeError;
use domain::organization::{Organization, OrganizationEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::ProjectionError;
use crate::projection::{Applying, Projection, Recorded};

/// The projection that keeps `mail.outbox`.
pub struct Mails;

/// What it follows.
pub enum Followed {
    /// An account's life.
    Account(AccountEvent),
    /// An organisation's life.
    Organization(OrganizationEvent),
}

impl Projection for Mails {
    const NAME: &'static str = "mail";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 1;
    const SCHEMA: &'static str = "mail";
    type Event = Followed;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Account>() || event.is::<Organization>()
    }

    fn decode(event: &EventEnvelope) -> Result<Followed, DecodeError> {
        if event.is::<Account>() {
            return event.decode::<Account>().map(Followed::Account);
        }
        event.decode::<Organization>().map(Followed::Organization)
    }

    fn apply<'a>(batch: &'a [Recorded<Followed>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs)] // each name is its own sentence
pub enum Template {
    VerifyAddress,
    RequestedAddress,
    ResetPassword,
    PasswordChanged,
    AddressChanged,
    AddressReused,
    TotpEnabled,
    TotpDisabled,
    Suspended,
    Reactivated,
    Invitation,
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 11] = [
        Self::VerifyAddress,
        Self::RequestedAddress,
        Self::ResetPassword,
        Self::PasswordChanged,
        Self::AddressChanged,
        Self::AddressReused,
        Self::TotpEnabled,
        Self::TotpDisabled,
        Self::Suspended,
        Self::Reactivated,
        Self::Invitation,
    ];

    /// Its stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::VerifyAddress => "verify_address",
            Self::RequestedAddress => "requested_address",
            Self::ResetPassword => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::AddressChanged => "address_changed",
            Self::AddressReused => "address_reused",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpDisabled => "totp_disabled",
            Self::Suspended => "suspended",
            Self::Reactivated => "reactivated",
            Self::Invitation => "invitation",
        }
    }

    /// The template of this stored name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }
}

/// The messages that an event calls for. The one about a changed address goes to the address before.
fn templates(event: &AccountEvent) -> &'static [Template] {
    match event {
        AccountEvent::Registered { .. } | AccountEvent::VerificationRequested { .. } => &[Template::VerifyAddress],
        AccountEvent::AddressChanged { .. } => &[Template::VerifyAddress, Template::AddressChanged],
        AccountEvent::AddressRequested { .. } => &[Template::RequestedAddress],
        AccountEvent::AddressReused { .. } => &[Template::AddressReused],
        AccountEvent::PasswordResetRequested { .. } => &[Template::ResetPassword],
        AccountEvent::PasswordChanged { .. } | AccountEvent::PasswordReset { .. } => &[Template::PasswordChanged],
        AccountEvent::TotpEnabled { .. } => &[Template::TotpEnabled],
        AccountEvent::TotpDisabled { .. } => &[Template::TotpDisabled],
        AccountEvent::Suspended { .. } => &[Template::Suspended],
        AccountEvent::Reactivated { .. } => &[Template::Reactivated],
        AccountEvent::ProfileEdited { .. }
        | AccountEvent::AvatarChanged { .. }
        | AccountEvent::AvatarRemoved { .. }
        | AccountEvent::AddressVerified { .. }
        | AccountEvent::ApiTokenIssued { .. }
        | AccountEvent::ApiTokenRevoked { .. }
        | AccountEvent::RolesChanged { .. }
        | AccountEvent::ErasureRequested { .. }
        | AccountEvent::ErasureWithdrawn { .. }
        | AccountEvent::Erased { .. } => &[],
    }
}

async fn apply(batch: &[Recorded<Followed>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut queued: Vec<(&EventEnvelope, Template, Uuid)> = Vec::new();
    for Recorded { envelope, event } in batch {
        match event {
            Followed::Account(event) => {
                queued.extend(templates(event).iter().map(|template| (&**envelope, *template, envelope.aggregate_id)));
            }
            // The address is the invitation's own.
            Followed::Organization(OrganizationEvent::MemberInvited { invitation, .. }) => {
                queued.push((envelope, Template::Invitation, *invitation));
            }
            Followed::Organization(_) => {}
        }
    }
    if queued.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into outbox (position, template, account_id, recorded_at)
         select * from unnest($1::bigint[], $2::text[], $3::uuid[], $4::timestamptz[])",
    )
    .bind(queued.iter().map(|(envelope, ..)| envelope.position.cast_signed()).collect::<Vec<_>>())
    .bind(queued.iter().map(|(_, template, _)| template.name()).collect::<Vec<_>>())
    .bind(queued.iter().map(|(.., to)| *to).collect::<Vec<_>>())
    .bind(queued.iter().map(|(envelope, ..)| envelope.recorded_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
