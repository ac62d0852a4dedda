//! What a batch adds to the figures: counted in memory, written with one statement per table.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::dossier::{ChangeReason, DossierEvent, Status};
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::DossierState;
use crate::dossier::status;
use crate::error::ProjectionError;

/// How many stays in a status ended, and how long they were together.
#[derive(Default)]
struct Stays {
    count: i64,
    total_ms: i64,
}

/// What the community did.
#[derive(Default)]
pub(super) struct CommunityDay {
    pub(super) posts: i64,
    pub(super) comments: i64,
    pub(super) likes: i64,
    pub(super) unlikes: i64,
}

/// The figures of one batch; keys are sorted, so that rows are always locked in the same order.
#[derive(Default)]
pub(super) struct Tally {
    entered: BTreeMap<(NaiveDate, Status, String), i64>,
    stays: BTreeMap<(Status, String), Stays>,
    decisions: BTreeMap<(Uuid, &'static str), i64>,
    registered: BTreeMap<NaiveDate, i64>,
    change_requests: BTreeMap<(NaiveDate, String, &'static str), i64>,
    community: BTreeMap<NaiveDate, CommunityDay>,
}

impl Tally {
    /// Counts what one event changed.
    pub(super) fn count(&mut self, before: Option<&DossierState>, after: &DossierState, event: &DossierEvent) {
        let at = status::at(event);
        if before.map(|before| before.status) != Some(after.status) {
            let entered = (at.date_naive(), after.status, after.category.clone());
            *self.entered.entry(entered).or_default() += 1;
            if let Some(before) = before {
                let stays = self.stays.entry((before.status, before.category.clone())).or_default();
                stays.count += 1;
                // Clocks of different servers may disagree.
                stays.total_ms += (at - before.since).num_milliseconds().max(0);
            }
        }
        if let DossierEvent::ChangesRequested { reason, .. } = event {
            let asked = (at.date_naive(), after.category.clone(), reason_name(*reason));
            *self.change_requests.entry(asked).or_default() += 1;
        }
        let decision = match event {
            DossierEvent::Accepted { by, .. } => Some((*by, "accepted")),
            DossierEvent::Refused { by, .. } => Some((*by, "refused")),
            DossierEvent::Closed { by, .. } => Some((*by, "closed")),
            _ => None,
        };
        if let Some(decision) = decision {
            *self.decisions.entry(decision).or_default() += 1;
        }
    }

    /// What the community did on the day of this moment.
    pub(super) fn day(&mut self, at: DateTime<Utc>) -> &mut CommunityDay {
        self.community.entry(at.date_naive()).or_default()
    }

    /// Counts an account.
    pub(super) fn registered(&mut self, at: DateTime<Utc>) {
        *self.registered.entry(at.date_naive()).or_default() += 1;
    }

    pub(super) async fn write(self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        self.write_statuses(connection).await?;
        self.write_change_requests(connection).await?;
        self.write_community(connection).await?;
        if !self.decisions.is_empty() {
            sqlx::query(
                "insert into reviewer_decisions as t (reviewer_id, outcome, decisions)
                 select * from unnest($1::uuid[], $2::text[], $3::bigint[])
                 on conflict (reviewer_id, outcome) do update set decisions = t.decisions + excluded.decisions",
            )
            .bind(self.decisions.keys().map(|(reviewer, _)| *reviewer).collect::<Vec<_>>())
            .bind(self.decisions.keys().map(|(_, outcome)| *outcome).collect::<Vec<_>>())
            .bind(self.decisions.into_values().collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        if !self.registered.is_empty() {
            sqlx::query(
                "insert into registration_days as t (day, registered)
                 select * from unnest($1::date[], $2::bigint[])
                 on conflict (day) do update set registered = t.registered + excluded.registered",
            )
            .bind(self.registered.keys().copied().collect::<Vec<_>>())
            .bind(self.registered.into_values().collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        Ok(())
    }

    async fn write_statuses(&self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        if !self.entered.is_empty() {
            sqlx::query(
                "insert into status_days as t (day, status, category, entered)
                 select * from unnest($1::date[], $2::text[], $3::text[], $4::bigint[])
                 on conflict (day, status, category) do update set entered = t.entered + excluded.entered",
            )
            .bind(self.entered.keys().map(|(day, _, _)| *day).collect::<Vec<_>>())
            .bind(self.entered.keys().map(|(_, status, _)| status.as_str()).collect::<Vec<_>>())
            .bind(self.entered.keys().map(|(_, _, category)| category.as_str()).collect::<Vec<_>>())
            .bind(self.entered.values().copied().collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        if !self.stays.is_empty() {
            sqlx::query(
                "insert into status_durations as t (status, category, stays, total_ms)
                 select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
                 on conflict (status, category) do update set
                     stays = t.stays + excluded.stays, total_ms = t.total_ms + excluded.total_ms",
            )
            .bind(self.stays.keys().map(|(status, _)| status.as_str()).collect::<Vec<_>>())
            .bind(self.stays.keys().map(|(_, category)| category.as_str()).collect::<Vec<_>>())
            .bind(self.stays.values().map(|stays| stays.count).collect::<Vec<_>>())
            .bind(self.stays.values().map(|stays| stays.total_ms).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        Ok(())
    }

    async fn write_change_requests(&self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        if self.change_requests.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into change_requests as t (day, category, reason, requests)
             select * from unnest($1::date[], $2::text[], $3::text[], $4::bigint[])
             on conflict (day, category, reason) do update set requests = t.requests + excluded.requests",
        )
        .bind(self.change_requests.keys().map(|(day, _, _)| *day).collect::<Vec<_>>())
        .bind(self.change_requests.keys().map(|(_, category, _)| category.as_str()).collect::<Vec<_>>())
        .bind(self.change_requests.keys().map(|(_, _, reason)| *reason).collect::<Vec<_>>())
        .bind(self.change_requests.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_community(&self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        if self.community.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into community_days as t (day, posts, comments, likes, unlikes)
             select * from unnest($1::date[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
             on conflict (day) do update set posts = t.posts + excluded.posts, comments = t.comments + excluded.comments,
                 likes = t.likes + excluded.likes, unlikes = t.unlikes + excluded.unlikes",
        )
        .bind(self.community.keys().copied().collect::<Vec<_>>())
        .bind(self.community.values().map(|day| day.posts).collect::<Vec<_>>())
        .bind(self.community.values().map(|day| day.comments).collect::<Vec<_>>())
        .bind(self.community.values().map(|day| day.likes).collect::<Vec<_>>())
        .bind(self.community.values().map(|day| day.unlikes).collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// As events spell it.
fn reason_name(reason: ChangeReason) -> &'static str {
    match reason {
        ChangeReason::Incorrect => "incorrect",
        ChangeReason::Incomplete => "incomplete",
        ChangeReason::Outdated => "outdated",
    }
}
