//! The private nats-server: on loopback, on a port of its own, behind a token.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::Signal;
use tokio::process::Child;

use super::EmbeddedError;
use super::directory::{DataDirectory, write_private};
use super::process::{Steps, command, stop_left_behind};
use super::programs;
use super::service::{Service, ended};

const LOG: &str = "nats.log";
const CONFIGURATION: &str = "nats.conf";
/// Opening the files of a large stream takes its time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A nats-server that is ready to be started.
#[derive(Debug)]
pub(super) struct Nats {
    directory: Arc<DataDirectory>,
    program: PathBuf,
    home: PathBuf,
    token: String,
    /// Chosen by the first start, and kept when the server is started again.
    port: Option<u16>,
    log_start: u64,
}

impl Nats {
    /// Finds the program, and makes the token when there is none yet.
    pub fn prepare(directory: Arc<DataDirectory>) -> Result<Self, EmbeddedError> {
        let program = programs::nats_server(directory.user.as_ref())?;
        let home = directory.private("nats")?;
        let token = token(&directory)?;
        Ok(Self { directory, program, home, token, port: None, log_start: 0 })
    }

    /// The address, with the token as its user.
    pub fn url(&self) -> String {
        format!("nats://{}@127.0.0.1:{}", self.token, self.port.unwrap_or_default())
    }

    /// Paths are relative to the working directory, which spares them any quoting.
    fn configuration(&self) -> String {
        let port = self.port.map_or(-1, i32::from);
        let token = &self.token;
        format!(
            "host: \"127.0.0.1\"\nport: {port}\nserver_name: \"capitune\"\nports_file_dir: \".\"\n\
             authorization {{ token: \"{token}\" }}\njetstream {{ store_dir: \"store\" }}\n"
        )
    }

    fn write_configuration(&self) -> Result<(), EmbeddedError> {
        // Not where the server itself could replace it while we write.
        let path = self.directory.path.join(CONFIGURATION);
        write_private(&path, self.configuration().as_bytes()).map_err(EmbeddedError::io(&path))?;
        self.directory.give(&path)
    }

    /// The files in which a server tells its port, by its process id.
    fn ports_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.home).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "ports")).collect()
    }

    /// The port that the server told; none as long as the file is missing or not written to its end.
    fn told_port(&self) -> Option<u16> {
        let content = fs::read(self.ports_files().first()?).ok()?;
        let ports: serde_json::Value = serde_json::from_slice(&content).ok()?;
        ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
    }
}

impl Service for Nats {
    const NAME: &'static str = "nats-server";
    const STOP: &'static Steps = &[(Signal::TERM, Duration::from_secs(10)), (Signal::KILL, Duration::from_secs(5))];

    async fn spawn(&mut self) -> Result<Child, EmbeddedError> {
        // A second server on the same store would start without complaint, and spoil it.
        stop_left_behind(Self::NAME, &self.home, Self::STOP).await?;
        for stale in self.ports_files() {
            fs::remove_file(&stale).map_err(EmbeddedError::io(&stale))?;
        }
        self.write_configuration()?;
        let (log, length) = self.directory.open_log(LOG)?;
        let log_again = log.try_clone().map_err(EmbeddedError::io(LOG))?;
        self.log_start = length;
        let mut command = command(&self.program, self.directory.user.as_ref(), Signal::TERM);
        command.arg("-c").arg(self.directory.path.join(CONFIGURATION));
        command.current_dir(&self.home).stdout(log).stderr(log_again);
        command.spawn().map_err(|source| EmbeddedError::Spawn { program: self.program.clone(), source })
    }

    async fn ready(&mut self, child: &mut Child) -> Result<(), EmbeddedError> {
        let since = Instant::now();
        while since.elapsed() < START_LIMIT {
            if let Some(port) = self.told_port() {
                self.port = Some(port);
                return Ok(());
            }
            ended(child, Self::NAME, || self.directory.read_log(LOG, self.log_start))?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let reason = format!("no answer within {START_LIMIT:?}; see {LOG} in the data directory");
        Err(EmbeddedError::NotReady { service: Self::NAME, reason })
    }
}

/// The token of this data directory's server, made at its first start.
fn token(directory: &DataDirectory) -> Result<String, EmbeddedError> {
    let path = directory.path.join("nats.token");
    if path.exists() {
        return fs::read_to_string(&path).map_err(EmbeddedError::io(path));
    }
    let mut bytes = [0; 32];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| EmbeddedError::io(&path)(std::io::Error::other("the system gives no random numbers")))?;
    let token = URL_SAFE_NO_PAD.encode(bytes);
    write_private(&path, token.as_bytes()).map_err(EmbeddedError::io(path))?;
    Ok(token)
}
