//! Where messages go when there is no SMTP server: a directory that a developer reads.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::http::uri::Authority;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::embedded::write_private;

/// Messages that are kept, at most.
const KEPT: usize = 500;

/// The messages of an embedded system, one file each.
#[derive(Debug, Clone)]
pub struct Mailbox {
    directory: PathBuf,
    shown: bool,
}

/// A message in the mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptMessage {
    /// Its name in the mailbox.
    pub id: String,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// To whom.
    pub to: String,
    /// About what.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// As HTML.
    pub html: String,
}

impl Mailbox {
    /// The mailbox beside this data directory, and not in it: nothing personal is in clear there.
    /// Shown over HTTP only where the instance is reached as `public_url` on this machine itself: through a proxy, anybody
    /// may look like somebody who sits here.
    pub fn beside(data_dir: &Path, public_url: &str) -> Self {
        let mut name = data_dir.file_name().unwrap_or_default().to_owned();
        name.push("-mailbox");
        let authority = public_url.split('/').nth(2).unwrap_or_default();
        Self { directory: data_dir.with_file_name(name), shown: is_here(authority) }
    }

    /// Whether it is shown over HTTP.
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps a message to an account under a name of its own, once.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn keep(&self, account: Uuid, name: &str, message: KeptMessage) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let known = format!("-{account}-{name}.json");
        if self.names()?.iter().any(|name| name.ends_with(&known)) {
            return Ok(());
        }
        let at = message.at.trunc_subsecs(3);
        let id = format!("{}-{account}-{name}", at.format("%Y%m%dT%H%M%S%3f"));
        let file = self.directory.join(format!("{id}.json"));
        write_private(&file, &serde_json::to_vec_pretty(&KeptMessage { id, at, ..message })?)?;
        self.prune()
    }

    fn prune(&self) -> io::Result<()> {
        let names = self.names()?;
        for name in names.iter().take(names.len().saturating_sub(KEPT)) {
            std::fs::remove_file(self.directory.join(name)).or_else(gone)?;
        }
        Ok(())
    }

    /// Deletes what was written to an account.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn forget(&self, account: Uuid) -> io::Result<()> {
        for name in self.names()?.iter().filter(|name| name.contains(&account.to_string())) {
            std::fs::remove_file(self.directory.join(name)).or_else(gone)?;
        }
        Ok(())
    }

    /// All messages, the newest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn messages(&self) -> io::Result<Vec<KeptMessage>> {
        let read = |name: &String| {
            let bytes = std::fs::read(self.directory.join(name)).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        Ok(self.names()?.iter().rev().filter_map(read).collect())
    }

    /// The names of its files, the oldest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether a host, with or without a port, is this machine, by a name that no resolver can take for another.
pub fn is_here(authority: &str) -> bool {
    let authority = authority.parse::<Authority>();
    let host = authority.as_ref().map(|authority| authority.host().trim_matches(['[', ']'])).unwrap_or_default();
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str) -> KeptMessage {
        let text = |text: &str| text.to_owned();
        let at = Utc::now();
        KeptMessage { id: text(""), at, to: text("a@b.org"), subject: text(subject), text: text("x"), html: text("y") }
    }

    #[test]
    fn messages_are_kept_forgotten_and_never_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::beside(&directory.path().join("data"), "http://localhost:3001");
        assert!(mailbox.messages().unwrap().is_empty());
        let (ada, eve) = (Uuid::now_v7(), Uuid::now_v7());
        mailbox.keep(eve, "1", message("to Eve")).unwrap();
        for number in 0..KEPT + 3 {
            mailbox.keep(ada, &format!("{number:04}"), message("to Ada")).unwrap();
        }
        assert_eq!(mailbox.messages().unwrap().len(), KEPT);
        mailbox.keep(eve, "2", message("to Eve")).unwrap();
        mailbox.keep(eve, "2", message("to Eve again")).unwrap();
        assert_eq!(mailbox.messages().unwrap().len(), KEPT);
        assert_eq!(mailbox.messages().unwrap()[0].subject, "to Eve");
        mailbox.forget(ada).unwrap();
        assert_eq!(mailbox.messages().unwrap().len(), 1);
    }

    #[test]
    fn it_is_shown_where_nobody_but_this_machine_is_the_instance() {
        let shown = |public_url: &str| Mailbox::beside(Path::new("/data"), public_url).is_shown();
        for here in ["http://127.0.0.1:3001", "http://localhost", "https://[::1]:3001/app", "http://127.8.0.1"] {
            assert!(shown(here), "{here}");
        }
        for elsewhere in
            ["https://capitune.example", "http://localhost.example", "http://127.0.0.1.example", "http://10.0.0.1"]
        {
            assert!(!shown(elsewhere), "{elsewhere}");
        }
    }
}
