//! The outbox: which messages the facts about accounts call for. No address and no text is kept.

use domain::EventEnvelope;
use domain::account::{Account, AccountEvent};
use domain::envelope::DecodeError;
use sqlx::PgConnection;

use crate::error::ProjectionError;
use crate::projection::{Applying, Projection, Recorded};

/// The projection that keeps `mail.outbox`.
pub struct Mails;

impl Projection for Mails {
    const NAME: &'static str = "mail";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 1;
    const SCHEMA: &'static str = "mail";
    type Event = AccountEvent;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Account>()
    }

    fn decode(event: &EventEnvelope) -> Result<AccountEvent, DecodeError> {
        event.decode::<Account>()
    }

    fn apply<'a>(batch: &'a [Recorded<AccountEvent>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs)] // each name is its own sentence
pub enum Template {
    VerifyAddress,
    ResetPassword,
    PasswordChanged,
    AddressChanged,
    AddressReused,
    TotpEnabled,
    TotpDisabled,
    Suspended,
    Reactivated,
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 9] = [
        Self::VerifyAddress,
        Self::ResetPassword,
        Self::PasswordChanged,
        Self::AddressChanged,
        Self::AddressReused,
        Self::TotpEnabled,
        Self::TotpDisabled,
        Self::Suspended,
        Self::Reactivated,
    ];

    /// Its stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::VerifyAddress => "verify_address",
            Self::ResetPassword => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::AddressChanged => "address_changed",
            Self::AddressReused => "address_reused",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpDisabled => "totp_disabled",
            Self::Suspended => "suspended",
            Self::Reactivated => "reactivated",
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
        AccountEvent::AddressReused { .. } => &[Template::AddressReused],
        AccountEvent::PasswordResetRequested { .. } => &[Template::ResetPassword],
        AccountEvent::PasswordChanged { .. } | AccountEvent::PasswordReset { .. } => &[Template::PasswordChanged],
        AccountEvent::TotpEnabled { .. } => &[Template::TotpEnabled],
        AccountEvent::TotpDisabled { .. } => &[Template::TotpDisabled],
        AccountEvent::Suspended { .. } => &[Template::Suspended],
        AccountEvent::Reactivated { .. } => &[Template::Reactivated],
        AccountEvent::ProfileEdited { .. }
        | AccountEvent::AddressVerified { .. }
        | AccountEvent::ApiTokenIssued { .. }
        | AccountEvent::ApiTokenRevoked { .. }
        | AccountEvent::RolesChanged { .. }
        | AccountEvent::ErasureRequested { .. }
        | AccountEvent::ErasureWithdrawn { .. }
        | AccountEvent::Erased { .. } => &[],
    }
}

async fn apply(batch: &[Recorded<AccountEvent>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let queued: Vec<_> = batch
        .iter()
        .flat_map(|Recorded { envelope, event }| templates(event).iter().map(move |template| (envelope, template)))
        .collect();
    if queued.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into outbox (position, template, account_id, recorded_at)
         select * from unnest($1::bigint[], $2::text[], $3::uuid[], $4::timestamptz[])",
    )
    .bind(queued.iter().map(|(envelope, _)| envelope.position.cast_signed()).collect::<Vec<_>>())
    .bind(queued.iter().map(|(_, template)| template.name()).collect::<Vec<_>>())
    .bind(queued.iter().map(|(envelope, _)| envelope.aggregate_id).collect::<Vec<_>>())
    .bind(queued.iter().map(|(envelope, _)| envelope.recorded_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
