//! What is wrong with the settings: which one, what it says, what is accepted.

use std::path::PathBuf;

use super::settings::Setting;

/// Why a process does not start with the settings it is given.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting that does not exist.
    #[error("there is no setting {0}: `capitune config` lists them all")]
    Unknown(String),
    /// A key of the configuration file that is no setting.
    #[error("there is no setting `{key}` in {}: a key is a setting's name without CAPITUNE_, in lower case", path.display())]
    UnknownInFile {
        /// The key.
        key: String,
        /// The configuration file.
        path: PathBuf,
    },
    /// A value that is not accepted.
    #[error("{name} is {value}: accepted is {accepted}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// What was given, unless it is secret.
        value: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A file that cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// One of two settings that belong together.
    #[error("{given} is set and {missing} is not: give both, or neither")]
    Incomplete {
        /// The one that is given.
        given: &'static str,
        /// The one that is missing.
        missing: &'static str,
    },
    /// The master key is given twice.
    #[error("CAPITUNE_MASTER_KEY and CAPITUNE_MASTER_KEY_FILE are both set: give one of them")]
    MasterKeyTwice,
    /// The master key is missing.
    #[error(
        "DATABASE_URL is set, and neither CAPITUNE_MASTER_KEY nor CAPITUNE_MASTER_KEY_FILE: give one of them, 32 random bytes (openssl rand -hex 32), and keep a copy: without it personal data cannot be read again"
    )]
    MasterKeyMissing,
}

impl ConfigError {
    pub(super) fn invalid(setting: &'static Setting, value: &str) -> Self {
        let value = if setting.secret { "something else (not shown)".into() } else { format!("`{value}`") };
        Self::Invalid { name: setting.name, value, accepted: setting.accepted }
    }
}
