//! `capitune audit`: whether the log is as it was recorded, and what to keep so that anybody can tell.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use event_store::EventStore;
use event_store::audit::{Change, Contradiction, LostHead, SignedHead, Verified, VerifierKey};

use super::CliError;
use super::connection::{Connection, Servers};
use super::progress::{bar, shown_on};
use crate::case_file::{self, VerifiedCase};
use crate::config::Config;
use crate::routes::HeadView;
use crate::witnesses::kept_heads;

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Compute the tree from the log, and compare it with every signed head, those that stores and directories among the
    /// witnesses keep included
    Verify {
        /// A head that was kept elsewhere, as a signed note or as the JSON of GET /api/audit/head; may be given several
        /// times
        #[arg(long, value_name = "FILE")]
        head: Vec<PathBuf>,
        /// A key that kept heads may be signed with, as `capitune audit keys` prints it: where the master key is not the
        /// one of that time
        #[arg(long, value_name = "VERIFIER-KEY", value_parser = str::parse::<VerifierKey>)]
        key: Vec<VerifierKey>,
    },
    /// Verify a dossier's case file, offline
    VerifyCase {
        /// The ZIP file
        file: PathBuf,
        /// A key of the log that you know from elsewhere; without one, the file is held against the key that it brings
        #[arg(long, value_name = "VERIFIER-KEY", value_parser = str::parse::<VerifierKey>)]
        key: Vec<VerifierKey>,
    },
    /// Print the newest head, as a signed note, to be kept elsewhere
    Head,
    /// Print the keys that heads are signed with
    Keys,
    /// Sign heads with a new key from now on, which the one before it introduces
    RotateKey,
}

/// Does what `audit` says.
///
/// # Errors
/// [`CliError::Tampered`] when the log is not as it was recorded, others when that cannot be told.
pub async fn run(config: &Config, audit: Audit) -> Result<(), CliError> {
    match audit {
        Audit::Verify { head, key } => verify(config, &head, &key).await,
        Audit::VerifyCase { file, key } => verify_case(&file, &key),
        Audit::Head => {
            let head = open(config).await?.tree_head().await?.ok_or(CliError::NothingSealed)?;
            print!("{}", head.note());
            Ok(())
        }
        Audit::Keys => {
            for key in open(config).await?.tree_keys().await? {
                println!("{}", key.key);
            }
            Ok(())
        }
        Audit::RotateKey => {
            println!("{}", open(config).await?.rotate_tree_key().await?);
            Ok(())
        }
    }
}

async fn open(config: &Config) -> Result<EventStore, CliError> {
    Connection::open(config, Servers::Attached).await?.store(config).await
}

async fn verify(config: &Config, files: &[PathBuf], known: &[VerifierKey]) -> Result<(), CliError> {
    let mut kept = files.iter().map(|file| read_head(file)).collect::<Result<Vec<_>, _>>()?;
    let store = open(config).await?;
    for place in &config.audit_witnesses {
        kept.extend(kept_heads(place, &store.audit_origin()).await?);
    }
    let bar = bar("events");
    let verified = store.verify_log(&kept, known, shown_on(&bar)).await?;
    bar.finish_and_clear();
    tell(&verified);
    for lost in store.lost_heads().await? {
        println!("{}", lost_line(&lost));
    }
    if verified.is_intact() { Ok(()) } else { Err(CliError::Tampered) }
}

fn verify_case(file: &Path, known: &[VerifierKey]) -> Result<(), CliError> {
    let verified = case_file::verify(File::open(file)?, known)?;
    let VerifiedCase { dossier, events, head, key } = verified;
    println!(
        "{events} events of the dossier {dossier}, none missing among them, are under the head of {} events",
        head.head.size
    );
    println!("signed on {} by {key}", head.head.time());
    if known.is_empty() {
        println!("The key comes with the file: compare it with one that you know from elsewhere.");
    }
    Ok(())
}

fn read_head(file: &Path) -> Result<SignedHead, CliError> {
    let told = |reason: String| CliError::KeptHead { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
    let note = match text.trim_start().starts_with('{') {
        true => {
            let head: HeadView = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
            head.note().ok_or_else(|| told("the key's id or the signature is malformed".to_owned()))?
        }
        false => text,
    };
    note.parse().map_err(|error: event_store::audit::NotAHead| told(error.to_string()))
}

fn tell(verified: &Verified) {
    let Verified { events, sealed, heads, changes, more, contradictions, tree_changed, missing } = verified;
    println!("{events} events, of which {sealed} are sealed; {heads} heads");
    for change in changes {
        println!("{}", change_line(change));
    }
    if *more > 0 {
        println!("… and {more} more");
    }
    if *tree_changed {
        println!("the tree that is kept beside the log was changed: which events were cannot be told one by one");
    }
    for contradiction in contradictions {
        println!("{}", contradiction_line(contradiction));
    }
    if let Some(position) = missing {
        println!("{position}: missing, and no head covers it");
    }
    if verified.is_intact() {
        println!("Everything is as it was recorded.");
    }
}

fn lost_line(lost: &LostHead) -> String {
    let LostHead { head, kept_to, noticed_at } = lost;
    format!(
        "the head of {} events, root {}, signed on {}, was lost with the log's tail: noticed on {}, kept up to {kept_to}",
        head.head.size,
        head.head.root,
        head.head.time(),
        noticed_at.format("%Y-%m-%dT%H:%M:%SZ")
    )
}

fn change_line(change: &Change) -> String {
    match change {
        Change::Edited { position, now } => format!("{position}: edited ({now})"),
        Change::Removed { position } => format!("{position}: removed"),
        Change::Inserted { position, now } => format!("{position}: inserted ({now})"),
        Change::Moved { from, to, now } => format!("{from}: moved to {to} ({now})"),
    }
}

fn contradiction_line(contradiction: &Contradiction) -> String {
    match contradiction {
        Contradiction::Unsigned { size } => format!("the head of {size} events was not signed by a key of this log"),
        Contradiction::Foreign { origin } => format!("a kept head is of another log, {origin}"),
        Contradiction::Truncated { size, log } => {
            format!("the log was cut off: a head covers {size} events, and there are {log}")
        }
        Contradiction::Rewritten { size, agreed } => {
            format!("history was rewritten between {} and {size}: the signed head of {size} is of another", agreed + 1)
        }
    }
}
