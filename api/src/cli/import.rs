//! `capitune import-accounts`: people of another system, with the passwords that they have there.

use std::path::Path;
use std::time::Duration;

use commands::{CommandError, Commands, Context};
use domain::access::DEFAULT_ORGANIZATION;
use domain::account::{Account, AccountCommand, AccountError, Locale};
use domain::{Actor, FieldError, Role};
use event_store::{Claim, EventStore};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use sqlx::PgPool;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;
use uuid::Uuid;

use super::CliError;
use super::connection::{Connection, Servers};
use crate::auth::{ADDRESS, address_hash, is_importable};
use crate::config::Config;

/// Accounts under way at once, which share commits.
const AT_ONCE: usize = 64;
const DEADLINE: Duration = Duration::from_secs(30);

/// A line of the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Imported {
    email: String,
    name: String,
    /// By bcrypt or argon2id; who has none asks for a new password.
    password_hash: Option<String>,
    locale: Option<Locale>,
    /// Whether the other system had the address proved.
    #[serde(default)]
    email_verified: bool,
}

/// What became of a line.
enum Became {
    Imported,
    /// The address has an account.
    Known,
}

/// Why a line was refused; nothing of what it says, which is personal.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is not as it should be: {0}")]
    Malformed(String),
    #[error("the password's hash is neither by bcrypt nor by argon2id, or costs more than is sensible")]
    Hash,
    #[error("{}", fields(.0))]
    Fields(Vec<FieldError>),
    #[error("{0}")]
    Failed(String),
}

fn fields(errors: &[FieldError]) -> String {
    let sentences = errors.iter().map(|error| format!("{} {}", error.pointer.trim_start_matches('/'), error.detail));
    sentences.collect::<Vec<_>>().join("; ")
}

/// Opens an account for each line of `file`. Who has one already is left alone, so it can be interrupted and repeated.
///
/// # Errors
/// [`CliError`] when the file or the database cannot be read, or when lines were refused.
pub async fn run(config: &Config, file: &Path) -> Result<(), CliError> {
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let import = Import {
        commands: Commands::new(store.clone(), &connection.database),
        writes: connection.database.writes.clone(),
        store,
    };
    let opened = File::open(file).await?;
    let bar = ProgressBar::new(opened.metadata().await?.len()).with_style(style());
    let lines = stream::unfold((BufReader::new(opened).lines(), 1), |(mut lines, number)| async move {
        let line = lines.next_line().await.transpose()?;
        Some(((number, line), (lines, number + 1)))
    });
    let imported = lines.map(|(number, line)| {
        let (import, bar) = (&import, &bar);
        async move {
            let line = line?;
            bar.inc(line.len() as u64 + 1);
            Ok::<_, CliError>((number, import.line(&line).await))
        }
    });
    let mut imported = std::pin::pin!(imported.buffer_unordered(AT_ONCE));
    let (mut new, mut known, mut refused) = (0_u64, 0_u64, 0_u64);
    while let Some(line) = imported.next().await {
        match line? {
            (_, None) => {}
            (_, Some(Ok(Became::Imported))) => new += 1,
            (_, Some(Ok(Became::Known))) => known += 1,
            (number, Some(Err(why))) => {
                refused += 1;
                bar.suspend(|| eprintln!("line {number}: {why}"));
            }
        }
    }
    bar.finish_and_clear();
    println!("{new} accounts were imported; {known} addresses had one already.");
    if refused == 0 { Ok(()) } else { Err(CliError::LinesRefused(refused)) }
}

fn style() -> ProgressStyle {
    let template = "{wide_bar} {bytes}/{total_bytes}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Import {
    store: EventStore,
    commands: Commands,
    writes: PgPool,
}

impl Import {
    /// Nothing for an empty line.
    async fn line(&self, line: &str) -> Option<Result<Became, Refused>> {
        if line.trim().is_empty() {
            return None;
        }
        Some(match serde_json::from_str(line) {
            Ok(imported) => self.account(imported).await,
            // Where it goes wrong, and not what stands there.
            Err(error) => Err(Refused::Malformed(format!("{:?} error at column {}", error.classify(), error.column()))),
        })
    }

    async fn account(&self, imported: Imported) -> Result<Became, Refused> {
        let Imported { email, name, password_hash, locale, email_verified } = imported;
        if password_hash.as_deref().is_some_and(|hash| !is_importable(hash)) {
            return Err(Refused::Hash);
        }
        let address = address_hash(self.store.vault(), &email);
        if let Some(owner) = self.store.claim_owner(ADDRESS, &address).await.map_err(failed)? {
            // One that was interrupted is finished.
            if email_verified {
                self.verify(owner, email).await?;
            }
            return Ok(Became::Known);
        }
        let id = Uuid::now_v7();
        self.store.vault().create_key(id).await.map_err(failed)?;
        if let Some(hash) = password_hash {
            let insert = "insert into credentials (account_id, password_hash) values ($1, $2)";
            sqlx::query(insert).bind(id).bind(hash).execute(&self.writes).await.map_err(failed)?;
        }
        let (organization, at) = (DEFAULT_ORGANIZATION, chrono::Utc::now());
        let register =
            AccountCommand::Register { id, organization, email: email.clone(), name, locale, first_admin: false, at };
        let claim = Claim { kind: ADDRESS, value: address, owner: id, release: false };
        match self.commands.create::<Account>(id, register, context(id, vec![claim])).await {
            Ok(_) => {}
            Err(error) => return self.give_up(id, error).await,
        }
        if email_verified {
            self.verify(id, email).await?;
        }
        Ok(Became::Imported)
    }

    /// Nothing is left of an account that was certainly not opened.
    async fn give_up(&self, id: Uuid, error: CommandError<AccountError>) -> Result<Became, Refused> {
        let became = match error {
            // Somebody registered with it just now, or it stands in the file twice.
            CommandError::ClaimTaken => Ok(Became::Known),
            CommandError::Rejected(AccountError::Invalid(errors)) => Err(Refused::Fields(errors)),
            error => return Err(Refused::Failed(error.to_string())),
        };
        let delete = sqlx::query("delete from credentials where account_id = $1").bind(id);
        delete.execute(&self.writes).await.map_err(failed)?;
        self.store.vault().erase(id).await.map_err(failed)?;
        became
    }

    async fn verify(&self, id: Uuid, email: String) -> Result<(), Refused> {
        let verify = AccountCommand::VerifyAddress { email, at: chrono::Utc::now() };
        let verified = self.commands.execute::<Account>(id, verify, context(id, Vec::new())).await;
        verified.map(drop).map_err(|error| Refused::Failed(error.to_string()))
    }
}

fn failed(error: impl std::fmt::Display) -> Refused {
    Refused::Failed(error.to_string())
}

/// In the account's own name.
fn context(id: Uuid, claims: Vec<Claim>) -> Context {
    let actor = Actor::new(id, [Role::Applicant].into_iter().collect(), DEFAULT_ORGANIZATION);
    Context { claims, ..Context::without_request(actor, Instant::now() + DEADLINE) }
}
