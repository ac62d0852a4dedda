//! The data directory: one owner at a time, and files that only the right user can read.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;

use super::EmbeddedError;
use super::process::RunAs;

const LOCK_FILE: &str = "lock";
/// A log that has grown beyond this many bytes is set aside when its server starts.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// A data directory that this process owns for as long as this value lives.
#[derive(Debug)]
pub(super) struct DataDirectory {
    pub path: PathBuf,
    pub user: Option<RunAs>,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory when it is missing, and takes possession of it.
    pub async fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let user = RunAs::find()?;
        if !path.exists() {
            // The servers' user has to pass through; what lies inside is closed to everyone else one by one.
            let mode = if user.is_some() { 0o711 } else { 0o700 };
            fs::create_dir_all(path).map_err(EmbeddedError::io(path))?;
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(EmbeddedError::io(path))?;
        }
        let path = path.canonicalize().map_err(EmbeddedError::io(path))?;
        if let Some(user) = &user
            && let Some(closed) = user.closed_on_the_way(&path)
        {
            return Err(EmbeddedError::Unreachable { path, closed, user: user.name.clone() });
        }
        let lock = lock(&path).await?;
        Ok(Self { path, user, _lock: lock })
    }

    /// A directory in this one that only the servers' user may enter; made when missing.
    pub fn private(&self, name: &str) -> Result<PathBuf, EmbeddedError> {
        let path = self.path.join(name);
        self.private_at(&path)?;
        Ok(path)
    }

    /// The same, anywhere.
    pub fn private_at(&self, path: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.give(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_owner(path),
            Err(source) => Err(EmbeddedError::Io { path: path.to_path_buf(), source }),
        }
    }

    /// Hands a file or directory of ours to the servers' user.
    pub fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        chown(path, Some(user.uid), Some(user.gid)).map_err(EmbeddedError::io(path))
    }

    /// Refuses a directory that the servers' user does not own, or that is a symbolic link.
    fn check_owner(&self, path: &Path) -> Result<(), EmbeddedError> {
        let metadata = fs::symlink_metadata(path).map_err(EmbeddedError::io(path))?;
        let expected = self.user.as_ref().map_or_else(|| geteuid().as_raw(), |user| user.uid);
        if metadata.uid() != expected {
            return Err(EmbeddedError::WrongOwner { path: path.to_path_buf(), owner: metadata.uid(), expected });
        }
        if !metadata.is_dir() {
            return Err(EmbeddedError::io(path)(io::ErrorKind::NotADirectory.into()));
        }
        Ok(())
    }

    /// Opens a server's log for appending, after setting a long one aside, and answers its length so far.
    pub fn open_log(&self, name: &str) -> Result<(File, u64), EmbeddedError> {
        let path = self.path.join(name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
            fs::rename(&path, path.with_extension("log.1")).map_err(EmbeddedError::io(&path))?;
        }
        let open = || {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        open().map_err(EmbeddedError::io(&path))
    }

    /// The end of what was written to a log since it had `from` bytes, to tell why its server ended.
    pub fn read_log(&self, name: &str, from: u64) -> String {
        let read = || {
            let mut file = File::open(self.path.join(name))?;
            file.seek(io::SeekFrom::Start(from))?;
            let mut text = String::new();
            file.take(LOG_LIMIT).read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

/// Takes the lock of a data directory, or tells who has it.
async fn lock(directory: &Path) -> Result<File, EmbeddedError> {
    let path = directory.join(LOCK_FILE);
    let mut file = open_lock(&path).map_err(EmbeddedError::io(&path))?;
    // More than once, because `is_locked` of another process holds it for an instant.
    for _ in 0..20 {
        match file.try_lock() {
            Ok(()) => {
                let id = std::process::id().to_string();
                file.set_len(0).and_then(|()| file.write_all(id.as_bytes())).map_err(EmbeddedError::io(&path))?;
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(TryLockError::Error(source)) => return Err(EmbeddedError::Io { path, source }),
        }
    }
    let mut owner = String::new();
    // Without the owner's id the refusal stands all the same.
    file.read_to_string(&mut owner).ok();
    Err(EmbeddedError::InUse { path: directory.to_path_buf(), owner })
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether a process owns this data directory now.
pub(super) fn is_locked(directory: &Path) -> bool {
    let file = OpenOptions::new().read(true).write(true).open(directory.join(LOCK_FILE));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Writes a file that only this process's user can read, whole or not at all.
///
/// # Errors
///
/// When the directory cannot be written to.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
