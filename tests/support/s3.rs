//! A real object store that speaks S3.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use super::{eventually, packages};

const BUCKET: &str = "evidence";
const KEY: &str = "capitune";
const SECRET: &str = "a-secret-of-tests";

/// The store, which ends with the test.
pub struct ObjectStore {
    // Its input ends with this process, and then it does.
    _child: Child,
    _directory: TempDir,
    endpoint: String,
}

/// Ends what follows with its own input.
const GUARD: &str = r#""$@" >/dev/null 2>&1 & child=$!; read -r _; kill -9 $child"#;

impl ObjectStore {
    /// The one that tests share, each under a prefix of its own.
    pub async fn shared() -> &'static Self {
        static STORE: OnceCell<ObjectStore> = OnceCell::const_new();
        STORE.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(packages("s3").join("bin/weed"));
        command.arg("mini").arg("-dir").arg(directory.path()).args(["-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]);
        let services = ["master", "volume", "filer", "s3"];
        let ports = free_ports(2 * services.len()).await;
        for (service, ports) in services.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{service}.port")).arg(ports[0].to_string());
            command.arg(format!("-{service}.port.grpc")).arg(ports[1].to_string());
        }
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]);
        command.args(["-master.telemetry=false", "-bucket", BUCKET]);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let child = command.stdin(Stdio::piped()).spawn().expect("`make setup` installs the object store");
        let endpoint = format!("http://127.0.0.1:{}", ports[6]);
        let bucket = format!("{endpoint}/{BUCKET}/");
        // Forbidden to who is nobody: there.
        eventually("the object store listens", async || {
            reqwest::get(&bucket).await.is_ok_and(|answer| answer.status() == 403)
        })
        .await;
        Self { _child: child, _directory: directory, endpoint }
    }

    /// A place in it that is nobody else's.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/{}", uuid::Uuid::now_v7())
    }

    /// How a process gets there.
    pub fn settings(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ]
    }
}

async fn free_ports(number: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    for _ in 0..number {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
