//! The process manager of mail: takes what is due, sends it, and notes what became of it.
//!
//! A delivery belongs to one sender at a time, and only that one notes what became of it. One that ended in the middle is
//! tried again once its time is up, under the same message id: a server that had accepted it already knows it again.

use std::time::Duration;

use commands::Commands;
use event_store::{Database, EventStore};
use lettre::message::Mailbox as Address;
use projections::mail::Template;
use sqlx::{FromRow, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::compose::{Composed, RESET_WITHIN};
use super::transport::{Outgoing, Transport, Undelivered};
use crate::config::Config;
use crate::invitations::Invitations;
use crate::problem::Problem;
use crate::sweep::keep_swept;

/// How often to look when nothing is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Deliveries of one round, sent side by side.
const BATCH: i64 = 8;
/// How long one sender may be at a delivery, in seconds; longer than any conversation with a server.
const LEASE: f64 = 120.0;
/// The first wait after a failure and the longest one, in seconds.
const WAITS: (f64, f64) = (15.0, 3600.0);
/// Messages of one kind to one account, or invitations to one address, within an hour, at most: nobody is flooded, whoever
/// it is that calls for them.
const MOST_AN_HOUR: i64 = 5;
/// How long what is being sent may take when the process is to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// What is settled is kept for a month; the outbox offers nothing that old again.
const SETTLED: &str = "delete from mail_deliveries where (position, template) in (
    select position, template from mail_deliveries
    where status <> 'due' and created_at < clock_timestamp() - interval '30 days' limit 10000)";

/// Sends what the log calls for.
#[derive(Clone)]
pub struct MailSender {
    pub(super) store: EventStore,
    pub(super) commands: Commands,
    pub(super) invitations: Invitations,
    pub(super) writes: PgPool,
    pub(super) public_url: String,
    transport: Transport,
    from: Address,
}

/// A message that is to be sent.
pub(super) struct Delivery {
    pub(super) position: u64,
    pub(super) template: Template,
    pub(super) account: Uuid,
    /// Which attempt it is, by which a sender whose time was up knows that the delivery is another's.
    attempt: i32,
}

#[derive(FromRow)]
struct Row {
    position: i64,
    template: String,
    account_id: Uuid,
    attempts: i32,
}

impl MailSender {
    /// Sends by `transport`, in the name and with the links that are configured.
    pub fn new(
        store: &EventStore,
        database: &Database,
        invitations: Invitations,
        transport: Transport,
        config: &Config,
    ) -> Self {
        Self {
            store: store.clone(),
            commands: Commands::new(store.clone(), database),
            invitations,
            writes: database.writes.clone(),
            public_url: config.public_url.clone(),
            transport,
            from: config.mail_from.clone(),
        }
    }

    /// Sends what is due; how many there were.
    async fn round(&self) -> Result<usize, Problem> {
        self.enqueue().await?;
        let due = self.lease().await?;
        let count = due.len();
        let sent = futures::future::join_all(due.iter().map(|delivery| self.deliver(delivery))).await;
        sent.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(count)
    }

    /// Takes over from the outbox what is new. What is older than a day is not: a first start mails no history.
    async fn enqueue(&self) -> Result<(), Problem> {
        let new = "insert into mail_deliveries (position, template, account_id)
                   select o.position, o.template, o.account_id from mail.outbox o
                   where o.recorded_at > clock_timestamp() - interval '1 day'
                     and not exists (select from mail_deliveries d
                                     where d.position = o.position and d.template = o.template)
                   order by o.position limit 500
                   on conflict do nothing";
        sqlx::query(new).execute(&self.writes).await?;
        Ok(())
    }

    async fn lease(&self) -> Result<Vec<Delivery>, Problem> {
        let rows: Vec<Row> = sqlx::query_as(
            "update mail_deliveries d
             set attempts = attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2)
             from (select position, template from mail_deliveries
                   where status = 'due' and next_attempt_at <= clock_timestamp()
                   order by next_attempt_at limit $1 for update skip locked) as due
             where d.position = due.position and d.template = due.template
             returning d.position, d.template, d.account_id, d.attempts",
        )
        .bind(BATCH)
        .bind(LEASE)
        .fetch_all(&self.writes)
        .await?;
        let delivery = |row: Row| {
            let template = Template::named(&row.template)?;
            let (position, account, attempt) = (row.position.cast_unsigned(), row.account_id, row.attempts);
            Some(Delivery { position, template, account, attempt })
        };
        Ok(rows.into_iter().filter_map(delivery).collect())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<(), Problem> {
        if let Some(status) = self.objection(delivery).await? {
            return self.note(delivery, status, None).await;
        }
        let composed = match self.compose(delivery).await {
            Ok(Some(composed)) => composed,
            Ok(None) => return self.note(delivery, "needless", None).await,
            Err(error) => {
                tracing::warn!(%error, position = delivery.position, "a message cannot be written");
                return self.put_off(delivery, "unwritten").await;
            }
        };
        let Composed { to, letter } = composed;
        let name = format!("{}.{}.{}", self.store.log_id().id.simple(), delivery.position, delivery.template.name());
        let outgoing = Outgoing { account: delivery.account, name: &name, from: &self.from, to: &to, letter };
        match self.transport.send(outgoing).await {
            Ok(()) => self.note(delivery, "sent", None).await,
            Err(Undelivered { class, permanent: true }) => self.note(delivery, "failed", Some(class)).await,
            Err(Undelivered { class, permanent: false }) => self.put_off(delivery, class).await,
        }
    }

    /// Why a message is not to be sent, if it is not: a later one has the better link, it comes too late, or too many went
    /// before it.
    async fn objection(&self, delivery: &Delivery) -> Result<Option<&'static str>, Problem> {
        let (needless, flood): (bool, bool) = sqlx::query_as(
            "select $4 and exists (select from mail_deliveries l
                                   where l.account_id = $3 and l.template = $2 and l.position > $1
                                     and l.status in ('due', 'sent'))
                 or $5 and exists (select from mail.outbox o
                                   where o.position = $1 and o.template = $2
                                     and o.recorded_at < clock_timestamp() - make_interval(secs => $6)),
                 (select count(*) from mail_deliveries e
                  where e.template = $2 and e.status = 'sent'
                    and e.created_at > clock_timestamp() - interval '1 hour'
                    and e.account_id in (
                        select $3 union all
                        select other.id from invitations one join invitations other using (address_hash)
                        where one.id = $3 and other.id <> $3)) >= $7",
        )
        .bind(delivery.position.cast_signed())
        .bind(delivery.template.name())
        .bind(delivery.account)
        .bind(matches!(
            delivery.template,
            Template::VerifyAddress | Template::RequestedAddress | Template::ResetPassword
        ))
        .bind(delivery.template == Template::ResetPassword)
        .bind(RESET_WITHIN.as_seconds_f64())
        .bind(MOST_AN_HOUR)
        .fetch_one(&self.writes)
        .await?;
        Ok(if needless { Some("needless") } else { flood.then_some("withheld") })
    }

    async fn note(&self, delivery: &Delivery, status: &str, error: Option<&str>) -> Result<(), Problem> {
        if let Some(class) = error {
            tracing::warn!(position = delivery.position, template = delivery.template.name(), class, "not mailed");
        }
        metrics::counter!("capitune_mails_total", "status" => status.to_owned()).increment(1);
        let noted = "update mail_deliveries set status = $3, last_error = $4
                     where position = $1 and template = $2 and status = 'due' and attempts = $5";
        sqlx::query(noted)
            .bind(delivery.position.cast_signed())
            .bind(delivery.template.name())
            .bind(status)
            .bind(error)
            .bind(delivery.attempt)
            .execute(&self.writes)
            .await?;
        Ok(())
    }

    /// Tries again later, and later each time; after a day no more.
    async fn put_off(&self, delivery: &Delivery, class: &str) -> Result<(), Problem> {
        metrics::counter!("capitune_mails_total", "status" => "put_off").increment(1);
        let waits = "update mail_deliveries
                     set last_error = $3,
                         status = case when created_at < clock_timestamp() - interval '1 day' then 'failed'
                                  else 'due' end,
                         next_attempt_at = clock_timestamp() + make_interval(
                             secs => least($5, $4 * power(2, least(attempts - 1, 20))) * (0.75 + random() / 2))
                     where position = $1 and template = $2 and status = 'due' and attempts = $6";
        sqlx::query(waits)
            .bind(delivery.position.cast_signed())
            .bind(delivery.template.name())
            .bind(class)
            .bind(WAITS.0)
            .bind(WAITS.1)
            .bind(delivery.attempt)
            .execute(&self.writes)
            .await?;
        Ok(())
    }
}

/// Sends what is due until `stop`.
pub fn keep_sending(sender: MailSender, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    keep_swept(sender.writes.clone(), "mail deliveries", SETTLED, stop.clone());
    tokio::spawn(async move {
        // What was being sent is tried again by whoever looks when its time is up.
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            () = send_until(&sender, &stop) => {}
            () = stopped => tracing::warn!("a mail server did not answer in time; what it was sent is tried again later"),
        }
    })
}

async fn send_until(sender: &MailSender, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match sender.round().await {
            Ok(0) => LOOK_EVERY,
            Ok(_) => continue,
            Err(problem) => {
                tracing::debug!(%problem, "mail could not be sent; trying again soon");
                LOOK_EVERY * 4
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
