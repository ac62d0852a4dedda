//! A real OpenID Connect provider, or one that speaks as GitHub does, and a browser that goes there and back.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use tempfile::TempDir;

use super::{eventually, packages};

/// Where the provider sends people back to, by its configuration.
pub const PUBLIC_URL: &str = "http://127.0.0.1:3001";

/// The provider, which ends with the test.
pub struct OidcServer {
    child: Child,
    directory: TempDir,
    port: String,
    kind: &'static str,
}

impl OidcServer {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        Self::spawn("openid").await
    }

    /// Starts one that speaks as GitHub does.
    pub async fn github() -> Self {
        Self::spawn("github").await
    }

    async fn spawn(kind: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/support/oidc.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(packages("oidc")).arg(directory.path()).arg(kind);
        // Its input ends with this process.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("`make setup` installs node");
        let file = directory.path().join("port");
        eventually("the provider listens", async || file.exists()).await;
        let port = std::fs::read_to_string(file).unwrap();
        Self { child, directory, port, kind }
    }

    /// The setting that lets people log in there, under the name `test`.
    pub fn setting(&self) -> String {
        let protocol = if self.kind == "github" { "github+" } else { "" };
        format!("test={protocol}http://127.0.0.1:{},capitune,a-secret-for-tests", self.port)
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets a browser log in there as `who`, from the address it was sent to; the address it is sent back to.
    pub async fn visit(&self, url: &str, who: &str) -> String {
        std::fs::write(self.directory.path().join("who"), who).unwrap();
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        let mut cookies: HashMap<String, String> = HashMap::new();
        let mut url = url.to_owned();
        for _ in 0..10 {
            let shown: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let response = http.get(&url).header(COOKIE, shown.join("; ")).send().await.unwrap();
            for cookie in response.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                cookies.insert(name.to_owned(), value.to_owned());
            }
            let status = response.status();
            let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
            let location = location.unwrap_or_else(|| panic!("{status} at {url}"));
            let next = if location.starts_with('/') { format!("{}{location}", self.issuer()) } else { location };
            if let Some(back) = next.strip_prefix(PUBLIC_URL) {
                return back.to_owned();
            }
            url = next;
        }
        panic!("the provider sends the browser round in circles");
    }
}

impl Drop for OidcServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
