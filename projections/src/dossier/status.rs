//! The status that each fact leads to, and when it happened.

use chrono::{DateTime, SubsecRound, Utc};
use domain::dossier::{DossierEvent, Status};

/// A status, and the one that a cancelled change request returns to.
pub(crate) type Standing = (Status, Option<Status>);

/// What `event` makes of a dossier's standing.
pub(crate) fn after(standing: Standing, event: &DossierEvent) -> Standing {
    let (status, origin) = standing;
    match event {
        DossierEvent::Created { .. } => (Status::Draft, None),
        DossierEvent::Edited { .. } | DossierEvent::Archived { .. } | DossierEvent::Assigned { .. } => standing,
        DossierEvent::Submitted { .. } => (Status::Submitted, None),
        DossierEvent::ReviewStarted { .. } | DossierEvent::ReviewReopened { .. } => (Status::InReview, None),
        DossierEvent::ChangesRequested { .. } => (Status::ChangesRequested, Some(status)),
        DossierEvent::ChangeRequestCancelled { .. } => (origin.unwrap_or(Status::Submitted), None),
        DossierEvent::Accepted { .. } => (Status::Accepted, None),
        DossierEvent::Refused { .. } => (Status::Refused, None),
        DossierEvent::Closed { .. } => (Status::Closed, None),
        DossierEvent::Withdrawn { .. } => (Status::Withdrawn, None),
        DossierEvent::Discarded { .. } => (Status::Discarded, None),
    }
}

/// When it happened, as Postgres keeps times, so that a folded row equals a stored one.
pub(crate) fn at(event: &DossierEvent) -> DateTime<Utc> {
    let at = match event {
        DossierEvent::Created { at, .. }
        | DossierEvent::Edited { at, .. }
        | DossierEvent::Submitted { at, .. }
        | DossierEvent::ReviewStarted { at, .. }
        | DossierEvent::ChangesRequested { at, .. }
        | DossierEvent::ChangeRequestCancelled { at, .. }
        | DossierEvent::Accepted { at, .. }
        | DossierEvent::Refused { at, .. }
        | DossierEvent::Closed { at, .. }
        | DossierEvent::ReviewReopened { at, .. }
        | DossierEvent::Withdrawn { at, .. }
        | DossierEvent::Discarded { at }
        | DossierEvent::Archived { at, .. }
        | DossierEvent::Assigned { at, .. } => at,
    };
    at.trunc_subsecs(6)
}

/// The status of that name.
pub(crate) fn named(name: &str) -> Result<Status, sqlx::Error> {
    let known = Status::ALL.into_iter().find(|status| status.as_str() == name);
    known.ok_or_else(|| sqlx::Error::Decode(format!("`{name}` is no status").into()))
}

#[cfg(test)]
mod tests {
    use domain::Aggregate;
    use domain::dossier::{ChangeReason, Dossier, DossierCommand};
    use uuid::Uuid;

    use super::*;

    fn commands(owner: Uuid, by: Uuid) -> Vec<DossierCommand> {
        use DossierCommand::*;
        let at = DateTime::UNIX_EPOCH;
        let text = || "text".to_owned();
        let create = Create {
            owner,
            organization: owner,
            category: text(),
            title: text(),
            description: None,
            fields: Default::default(),
            at,
        };
        let edit = Edit { title: Some(text()), category: None, description: None, fields: None, at };
        vec![
            create,
            edit,
            Submit { note: Some(text()), at },
            StartReview { by, at },
            RequestChanges { reason: ChangeReason::Incomplete, message: text(), by, at },
            CancelChangeRequest { by, at },
            Accept { motivation: None, by, at },
            Refuse { motivation: text(), by, at },
            Close { motivation: text(), by, at },
            Reopen { reason: text(), by, at },
            Withdraw { reason: None, at },
            Discard { at },
            Archive { by, at },
            Assign { pro: by, by, at },
        ]
    }

    #[test]
    fn the_read_model_and_the_aggregate_agree_on_the_status_of_every_walk() {
        let commands = commands(Uuid::from_u128(1), Uuid::from_u128(2));
        let mut reached = std::collections::BTreeSet::new();
        for seed in 0..2_000_u64 {
            let (mut dossier, mut standing, mut dice) = (Dossier::default(), (Status::Draft, None), seed);
            for _ in 0..30 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let command = commands[(dice >> 33) as usize % commands.len()].clone();
                for event in dossier.decide(command).unwrap_or_default() {
                    dossier.apply(&event);
                    standing = after(standing, &event);
                    assert_eq!(dossier.stage().map(|stage| stage.status()), Some(standing.0), "{event:?}");
                    reached.insert(standing.0);
                }
            }
        }
        assert_eq!(reached.len(), Status::ALL.len());
    }
}
