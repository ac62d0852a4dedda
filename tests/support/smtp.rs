//! A real SMTP server that fails when it is told to.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, packages};

/// The server, which ends with the test.
pub struct SmtpServer {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl SmtpServer {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Self::spawn(&directory, 0);
        let port = Self::port_of(&directory).await;
        Self { child, directory, port }
    }

    fn spawn(directory: &TempDir, port: u16) -> Child {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/support/smtp.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(directory.path()).arg(port.to_string()).env("PYTHONPATH", packages("smtp"));
        // Its input ends with this process.
        command.stdin(Stdio::piped()).spawn().expect("`make setup` installs the SMTP server")
    }

    async fn port_of(directory: &TempDir) -> u16 {
        let file = directory.path().join("port");
        let port = || std::fs::read_to_string(&file).ok().and_then(|port| port.parse().ok());
        eventually("the SMTP server listens", async || port().is_some()).await;
        port().unwrap()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Makes it fail at the next messages, one fault each: `4xx`, `5xx`, `530`, `slow`, `break`, `lost` or `held`; `ok` lets
    /// one pass.
    pub fn fail(&self, faults: &[&str]) {
        std::fs::write(self.directory.path().join("faults"), faults.join("\n")).unwrap();
    }

    /// Lets go of the messages that are held, none of which is accepted.
    pub fn release(&self) {
        std::fs::write(self.directory.path().join("release"), "").unwrap();
    }

    /// Whether every fault was met.
    pub fn has_failed(&self) -> bool {
        std::fs::read_to_string(self.directory.path().join("faults")).unwrap_or_default().trim().is_empty()
    }

    /// What it has accepted, in order, as it was sent.
    pub fn accepted(&self) -> Vec<String> {
        let read = |number: usize| std::fs::read_to_string(self.directory.path().join(format!("{number}.eml"))).ok();
        (1..).map_while(read).collect()
    }

    /// What it has accepted for this address.
    pub fn accepted_for(&self, address: &str) -> Vec<String> {
        let to = format!("To: {address}");
        self.accepted().into_iter().filter(|message| message.contains(&to)).collect()
    }

    /// Ends it, as a crash would.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same port.
    pub async fn restart(&mut self) {
        std::fs::remove_file(self.directory.path().join("port")).unwrap();
        self.child = Self::spawn(&self.directory, self.port);
        Self::port_of(&self.directory).await;
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The link in a message, its transfer encoding undone.
pub fn link_in(message: &str) -> String {
    let text = message.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=");
    let start = text.find("http://").unwrap_or_else(|| panic!("no link in {message}"));
    text[start..].split_whitespace().next().unwrap().to_owned()
}
