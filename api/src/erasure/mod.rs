//! Erasure: a person is forgotten, however often a process ends in the middle of it.
//!
//! First the wish is written down, then the account's last event is appended, then the key is destroyed and what has no
//! further use is deleted. What was begun is finished by whichever process looks next. A ledger outside the database
//! tells who was erased, and whoever is missing there or here is brought up to date before anybody is served.

mod ledger;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;
use commands::{CommandError, Context};
use domain::access::DEFAULT_ORGANIZATION;
use domain::account::{Account, AccountCommand};
use domain::organization::{Organization, OrganizationCommand};
use domain::{Actor, Role};
use event_store::{Claim, StoreError};
use projections::organization::{self, Organizations};
use projections::{Projection, Scope};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::answer::Answered;
use crate::app::App;
use crate::auth::{ADDRESS, address_hash};
use crate::error::command_problem;
use crate::extract::Order;
use crate::problem::Problem;

pub use ledger::Ledger;

const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Younger wishes are being seen to by the process that took them.
const LEFT_BEHIND: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a request waits for the read model that tells where somebody belongs.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon the ledger is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Organisations read at once.
const PAGE: u32 = 100;

/// Forgets the account `id`, by the wish of its person or, as the second who asks, of the admin `approved_by`.
///
/// # Errors
/// A 403 when the log-in is not fresh or the first admin asks again, a 409 for an admin or without a first request, a 503
/// when the store does not answer.
pub async fn erase(app: &App, id: Uuid, approved_by: Option<Uuid>, order: Order) -> Answered {
    order.caller.proved_lately(app).await?;
    let claims = release(app, id).await?;
    sqlx::query("insert into erasures (person_id, approved_by) values ($1, $2) on conflict do nothing")
        .bind(id)
        .bind(approved_by)
        .execute(app.writes())
        .await?;
    let answer = app.execute_with::<Account>(id, command(approved_by), claims.clone(), order).await;
    match &answer {
        Ok(_) => {
            // The event stands: what fails now is finished later.
            if let Err(problem) = finish(app, id, &claims).await {
                tracing::warn!(%problem, "an erasure is to be finished later");
            }
        }
        Err(problem) if problem.is_refusal() => withdraw(app, id, approved_by).await?,
        Err(_) => {}
    }
    answer
}

fn command(approved_by: Option<Uuid>) -> AccountCommand {
    let at = Utc::now();
    match approved_by {
        Some(by) => AccountCommand::ApproveErasure { by, at },
        None => AccountCommand::Erase { at },
    }
}

/// The address is free for somebody else, or for the same person anew.
async fn release(app: &App, id: Uuid) -> Result<Vec<Claim>, Problem> {
    let (account, _) = app.commands().state::<Account>(id).await?;
    let email = account.email().and_then(|email| email.get());
    let claim =
        |email: &String| Claim { kind: ADDRESS, value: address_hash(app.vault(), email), owner: id, release: true };
    Ok(email.map(claim).into_iter().collect())
}

/// Only one's own wish: another may be under way.
async fn withdraw(app: &App, id: Uuid, approved_by: Option<Uuid>) -> Result<(), Problem> {
    let delete = "delete from erasures
                  where person_id = $1 and approved_by is not distinct from $2 and finished_at is null";
    sqlx::query(delete).bind(id).bind(approved_by).execute(app.writes()).await?;
    Ok(())
}

/// Destroys the key, ends the sessions, deletes the secrets, leaves the organisations. Idempotent.
async fn finish(app: &App, id: Uuid, released: &[Claim]) -> Result<(), Problem> {
    app.vault().erase(id).await?;
    for address in released {
        app.invitations().forget_all_to(app.vault(), &address.value).await?;
    }
    app.auth().sessions.end_all(id).await?;
    app.auth().accounts.forget(id).await;
    app.auth().second_factors.forget(id).await?;
    app.auth().api_tokens.forget(id).await?;
    app.auth().oidc.identities.forget(id).await?;
    app.avatars().forget(id).await?;
    if let Some(mailbox) = app.mailbox() {
        mailbox.forget(id).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    }
    // An address that was taken while the erasure was under way.
    sqlx::query("delete from claims where kind = $1 and owner = $2")
        .bind(ADDRESS)
        .bind(id)
        .execute(app.writes())
        .await?;
    sqlx::query("delete from credentials where account_id = $1").bind(id).execute(app.writes()).await?;
    if let Some(ledger) = app.ledger() {
        ledger.note(id).await.map_err(unwritten)?;
    }
    leave_organizations(app, id).await?;
    sqlx::query("update erasures set finished_at = clock_timestamp() where person_id = $1 and finished_at is null")
        .bind(id)
        .execute(app.writes())
        .await?;
    Ok(())
}

fn unwritten(error: object_store::Error) -> StoreError {
    StoreError::Unavailable(format!("the ledger of erasures: {error}"))
}

/// Makes the database and the ledger agree on who was erased, however long that takes: before it is done, a restored
/// backup would show people who were promised to be forgotten.
pub async fn agree_with_ledger(app: &App) {
    let Some(ledger) = app.ledger() else { return };
    tracing::info!("reading the ledger of erasures; nobody is served before that");
    while let Err(problem) = try_to_agree(app, ledger).await {
        tracing::error!(%problem, "the ledger of erasures cannot be read; trying again");
        if app.stop().run_until_cancelled(sleep(ASK_AGAIN)).await.is_none() {
            return;
        }
    }
}

async fn try_to_agree(app: &App, ledger: &Ledger) -> Result<(), Problem> {
    let told = ledger.persons().await.map_err(unwritten)?;
    let erased = "select person_id from person_keys where erased_at is not null";
    let erased: Vec<Uuid> = sqlx::query_scalar(erased).fetch_all(app.reads()).await?;
    let erased: BTreeSet<Uuid> = erased.into_iter().collect();
    for person in erased.difference(&told) {
        ledger.note(*person).await.map_err(unwritten)?;
    }
    for person in told.difference(&erased) {
        tracing::warn!(%person, "the database is older than an erasure; the person is erased again");
        erase_again(app, *person).await?;
    }
    Ok(())
}

/// Whatever the account is now: an admin, suspended, or not there yet.
async fn erase_again(app: &App, id: Uuid) -> Result<(), Problem> {
    let claims = release(app, id).await?;
    sqlx::query("insert into erasures (person_id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(app.writes())
        .await?;
    let context = context(id, false, claims.clone());
    match app.commands().execute::<Account>(id, command(None), context).await {
        Ok(_) | Err(CommandError::Rejected(_) | CommandError::Denied(_)) => {}
        Err(error) => return Err(command_problem::<Account>(error)),
    }
    app.vault().erase(id).await?;
    if let Err(problem) = finish(app, id, &claims).await {
        tracing::warn!(%problem, "an erasure is to be finished later");
    }
    Ok(())
}

/// Nobody belongs anywhere any more, not even as the last admin: who runs the instance can make another one.
async fn leave_organizations(app: &App, id: Uuid) -> Result<(), Problem> {
    let (head, deadline) = (app.store().head().await?, Instant::now() + PATIENCE);
    let context = context(id, false, Vec::new());
    let models = app.models(&context.actor);
    let mut after = None;
    loop {
        let query = || organization::list_of(&models, id, after, PAGE);
        let (page, _) = app.positions().read(Organizations::NAME, Scope::All, head, deadline, query).await?;
        for row in page.items {
            let forget = OrganizationCommand::Forget { user: id, at: Utc::now() };
            let left = app.commands().execute::<Organization>(row.id, forget, context.clone()).await;
            match left {
                // Gone since.
                Ok(_) | Err(CommandError::Denied(_)) => {}
                Err(error) => return Err(command_problem::<Organization>(error)),
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Finishes, now and then, what other processes have left behind.
pub fn keep_finishing(app: &App) {
    let (app, stop) = (app.clone(), app.stop().clone());
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(problem) = finish_left_behind(&app, LEFT_BEHIND).await {
                tracing::warn!(%problem, "erasures that were begun could not be finished; trying again later");
            }
        }
    });
}

/// Finishes every erasure that was asked for longer ago than `age`.
///
/// # Errors
/// A 503 when the store does not answer.
pub async fn finish_left_behind(app: &App, age: Duration) -> Result<(), Problem> {
    let left: Vec<(Uuid, Option<Uuid>)> = sqlx::query_as(
        "select person_id, approved_by from erasures
         where finished_at is null and requested_at <= clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(age.as_secs_f64())
    .fetch_all(app.reads())
    .await?;
    for (id, approved_by) in left {
        let (account, _) = app.commands().state::<Account>(id).await?;
        let claims = release(app, id).await?;
        let context = context(approved_by.unwrap_or(id), approved_by.is_some(), claims.clone());
        match app.commands().execute::<Account>(id, command(approved_by), context).await {
            Ok(_) => finish(app, id, &claims).await?,
            Err(CommandError::Rejected(_)) if account.is_erased() => finish(app, id, &claims).await?,
            Err(CommandError::Rejected(_) | CommandError::Denied(_)) => withdraw(app, id, approved_by).await?,
            Err(error) => return Err(command_problem::<Account>(error)),
        }
    }
    Ok(())
}

/// The wish of this person or admin, carried out without their request.
fn context(id: Uuid, admin: bool, claims: Vec<Claim>) -> Context {
    let role = if admin { Role::Admin } else { Role::Applicant };
    let actor = Actor::new(id, [role].into_iter().collect(), DEFAULT_ORGANIZATION);
    Context { claims, ..Context::without_request(actor, Instant::now() + DEADLINE) }
}
