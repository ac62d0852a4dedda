//! The process manager of mail: takes what is due, sends it, and notes what became of it.
//!
//! A delivery belongs to one sender at a time. One that ended in the middle is tried again once its time is up, under
//! the same message id: a server that had accepted it already knows it again.

use std::time::Duration;

use commands::Commands;
use event_store::{Database, EventStore};
use lettre::message::Mailbox as Address;
use projections::mail::Template;
use sqlx::{FromRow, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::compose::Composed;
use super::transport::{Outgoing, Transport, Undelivered};
use crate::config::Config;
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

/// What is settled is kept for a month; the outbox offers nothing that old again.
const SETTLED: &str = "delete from mail_deliveries where (position, template) in (
    select position, template from mail_deliveries
    where status <> 'due' and created_at < clock_timestamp() - interval '30 days' limit 10000)";

/// Sends what the log calls for.
#[derive(Clone)]
pub struct MailSender {
    pub(super) store: EventStore,
    pub(super) commands: Commands,
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
}

#[derive(FromRow)]
struct Row {
    position: i64,
    template: String,
    account_id: Uuid,
}

impl MailSender {
    /// Sends by `transport`, in the name and with the links that are configured.
    pub fn new(store: &EventStore, database: &Database, transport: Transport, config: &Config) -> Self {
        Self {
            store: store.clone(),
            commands: Commands::new(store.clone(), database),
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
             returning d.position, d.template, d.account_id",
        )
        .bind(BATCH)
        .bind(LEASE)
        .fetch_all(&self.writes)
        .await?;
        let delivery = |row: Row| {
            let template = Template::named(&row.template)?;
            Some(Delivery { position: row.position.cast_unsigned(), template, account: row.account_id })
        };
        Ok(rows.into_iter().filter_map(delivery).collect())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<(), Problem> {
        let Some(Composed { to, letter }) = self.compose(delivery).await? else {
            return self.note(delivery, "needless", None).await;
        };
        let name = format!("{}.{}.{}", self.store.log_id().id.simple(), delivery.position, delivery.template.name());
        let outgoing = Outgoing { account: delivery.account, name: &name, from: &self.from, to: &to, letter };
        match self.transport.send(outgoing).await {
            Ok(()) => self.note(delivery, "sent", None).await,
            Err(Undelivered { class, permanent: true }) => self.note(delivery, "failed", Some(class)).await,
            Err(Undelivered { class, permanent: false }) => self.put_off(delivery, class).await,
        }
    }

    async fn note(&self, delivery: &Delivery, status: &str, error: Option<&str>) -> Result<(), Problem> {
        if let Some(class) = error {
            tracing::warn!(position = delivery.position, template = delivery.template.name(), class, "not mailed");
        }
        metrics::counter!("capitune_mails_total", "status" => status.to_owned()).increment(1);
        sqlx::query("update mail_deliveries set status = $3, last_error = $4 where position = $1 and template = $2")
            .bind(delivery.position.cast_signed())
            .bind(delivery.template.name())
            .bind(status)
            .bind(error)
            .execute(&self.writes)
            .await?;
        Ok(())
    }

    /// Tries again later, and later each time; after a day no more.
    async fn put_off(&self, delivery: &Delivery, class: &str) -> Result<(), Problem> {
        let waits = "update mail_deliveries
                     set last_error = $3,
                         status = case when created_at < clock_timestamp() - interval '1 day' then 'failed'
                                  else 'due' end,
                         next_attempt_at = clock_timestamp() + make_interval(
                             secs => least($5, $4 * power(2, least(attempts - 1, 20))) * (0.75 + random() / 2))
                     where position = $1 and template = $2";
        sqlx::query(waits)
            .bind(delivery.position.cast_signed())
            .bind(delivery.template.name())
            .bind(class)
            .bind(WAITS.0)
            .bind(WAITS.1)
            .execute(&self.writes)
            .await?;
        Ok(())
    }
}

/// Sends what is due until `stop`.
pub fn keep_sending(sender: MailSender, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    keep_swept(sender.writes.clone(), "mail deliveries", SETTLED, stop.clone());
    tokio::spawn(async move {
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
    })
}
