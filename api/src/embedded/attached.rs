//! How another process of the same user finds a running embedded system.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::EmbeddedError;
use super::directory::{is_locked, write_private};

const RUNTIME_FILE: &str = "runtime.json";

/// Where a running embedded system can be reached: what `runtime.json` in its data directory says.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// The process that owns the system.
    pub pid: u32,
    /// A connection string over the unix socket.
    pub database_url: String,
    /// The address of the nats-server, with its token.
    pub nats_url: String,
    /// Where the system's own master key is kept, unless one is given.
    pub master_key_file: PathBuf,
}

impl Attached {
    /// Finds the system that runs on a data directory.
    ///
    /// # Errors
    ///
    /// When none runs there, or when this user may not read where it is.
    pub fn read(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let path = data_dir.join(RUNTIME_FILE);
        if !is_locked(data_dir) || !path.exists() {
            return Err(EmbeddedError::NotRunning(data_dir.to_path_buf()));
        }
        let content = fs::read(&path).map_err(EmbeddedError::io(&path))?;
        serde_json::from_slice(&content).map_err(|error| EmbeddedError::io(path)(error.into()))
    }

    pub(super) fn write(&self, data_dir: &Path) -> Result<(), EmbeddedError> {
        let path = data_dir.join(RUNTIME_FILE);
        let content = serde_json::to_vec_pretty(self).map_err(|error| EmbeddedError::io(&path)(error.into()))?;
        write_private(&path, &content).map_err(EmbeddedError::io(path))
    }

    /// Forgets a system that has ended, or that is about to start.
    pub(super) fn remove(data_dir: &Path) {
        // One that stays is harmless: it counts only while the data directory is locked.
        fs::remove_file(data_dir.join(RUNTIME_FILE)).ok();
    }
}

// The address of the nats-server holds its token.
impl fmt::Debug for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attached").field("pid", &self.pid).finish_non_exhaustive()
    }
}
