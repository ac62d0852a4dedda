//! The table of every setting: what `capitune config` prints and the documentation shows.

use std::fmt::Write;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable. In a configuration file, the same without `CAPITUNE_`, in lower case.
    pub name: &'static str,
    /// What counts when it is not given, as it would be written.
    pub default: &'static str,
    /// What a value may be, for the documentation and for refusals.
    pub accepted: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
    /// Whether it may be in a configuration file.
    pub in_file: bool,
}

impl Setting {
    /// Its name in a configuration file.
    pub fn key(&self) -> String {
        self.name.trim_start_matches("CAPITUNE_").to_ascii_lowercase()
    }
}

const fn setting(
    name: &'static str,
    default: &'static str,
    accepted: &'static str,
    description: &'static str,
) -> Setting {
    Setting { name, default, accepted, description, secret: false, in_file: true }
}

const fn secret(setting: Setting) -> Setting {
    Setting { secret: true, ..setting }
}

const fn environment_only(setting: Setting) -> Setting {
    Setting { in_file: false, ..setting }
}

pub(super) static LISTEN: Setting =
    setting("CAPITUNE_LISTEN", "127.0.0.1:3001", "an address and a port", "where the API listens");
pub(super) static METRICS_LISTEN: Setting = setting(
    "CAPITUNE_METRICS_LISTEN",
    "",
    "an address and a port",
    "a listener of its own for /metrics, which then leaves the first",
);
pub(super) static DATA_DIR: Setting = setting(
    "CAPITUNE_DATA_DIR",
    ".capitune",
    "a directory",
    "where the embedded Postgres and nats-server keep their data; run as root, the default is /var/lib/capitune",
);
pub(super) static DATABASE_URL: Setting = secret(setting(
    "DATABASE_URL",
    "",
    "a postgres:// URL",
    "the Postgres to use; together with NATS_URL, or neither: then both are embedded",
));
pub(super) static NATS_URL: Setting = secret(setting(
    "NATS_URL",
    "",
    "nats:// URLs, separated by commas",
    "the nats-server to use, version 2.10 or later, or several of one cluster",
));
pub(super) static NATS_REPLICAS: Setting = setting(
    "CAPITUNE_NATS_REPLICAS",
    "",
    "a whole number from 1 to 5",
    "how many nats-servers of a cluster keep the stream; by default 3 in a cluster, 1 without one",
);
pub(super) static DATABASE_CONNECTIONS: Setting = setting(
    "CAPITUNE_DATABASE_CONNECTIONS",
    "20",
    "a whole number from 1 to 10000",
    "the most connections to Postgres that one process opens for requests",
);
pub(super) static MASTER_KEY: Setting = secret(setting(
    "CAPITUNE_MASTER_KEY",
    "",
    "32 bytes, as 64 hexadecimal digits or in base64; several, separated by commas, while one replaces the other",
    "the key that personal data keys are wrapped with; needed with DATABASE_URL; the embedded default makes its own",
));
pub(super) static MASTER_KEY_FILE: Setting = setting(
    "CAPITUNE_MASTER_KEY_FILE",
    "",
    "a file that holds the key, written as for CAPITUNE_MASTER_KEY",
    "the same key, from a file",
);
pub(super) static ADMIN_EMAIL: Setting = setting(
    "CAPITUNE_ADMIN_EMAIL",
    "",
    "an e-mail address",
    "the first administrator, made at the start when missing; together with CAPITUNE_ADMIN_PASSWORD",
);
pub(super) static ADMIN_PASSWORD: Setting =
    secret(setting("CAPITUNE_ADMIN_PASSWORD", "", "a password", "the first administrator's password"));
pub(super) static REQUIRE_VERIFIED_EMAIL: Setting = setting(
    "CAPITUNE_REQUIRE_VERIFIED_EMAIL",
    "false",
    "true or false",
    "whether an account can be used only once its address is verified",
);
pub(super) static SMTP_URL: Setting = secret(setting(
    "CAPITUNE_SMTP_URL",
    "",
    "an smtp:// or smtps:// URL; smtp://…?tls=required for STARTTLS, without which no password goes to another machine",
    "the server that mail is sent by; without one the embedded system keeps it for its developer, others send none",
));
pub(super) static MAIL_FROM: Setting = setting(
    "CAPITUNE_MAIL_FROM",
    "Capitune <no-reply@capitune.local>",
    "an e-mail address, with or without a name",
    "in whose name mail is sent",
);
pub(super) static PUBLIC_URL: Setting = setting(
    "CAPITUNE_PUBLIC_URL",
    "http://127.0.0.1:3001",
    "an http:// or https:// URL",
    "where links in mail lead to: the address under which people reach this instance",
);
pub(super) static OIDC_PROVIDERS: Setting = secret(setting(
    "CAPITUNE_OIDC_PROVIDERS",
    "",
    "name=issuer,client id,client secret; several separated by spaces; https://github.com or github+URL for GitHub",
    "the OpenID Connect providers, or GitHub, that people may log in at; they send them back to /api/auth/oidc/NAME/callback",
));
pub(super) static AUDIT_WITNESSES: Setting = secret(setting(
    "CAPITUNE_AUDIT_WITNESSES",
    "",
    "URLs separated by spaces: s3://bucket/prefix (with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT), file:///directory, https://…",
    "the places outside the database that keep signed tree heads",
));
pub(super) static RATE_LIMIT_AUTH: Setting = setting(
    "CAPITUNE_RATE_LIMIT_AUTH",
    "10",
    "a whole number; 0 switches it off",
    "requests per minute and client address to the authentication routes",
);
pub(super) static RATE_LIMIT_GENERAL: Setting = setting(
    "CAPITUNE_RATE_LIMIT_GENERAL",
    "100",
    "a whole number; 0 switches it off",
    "requests per minute and user to every other route",
);
pub(super) static RATE_LIMIT_UPLOAD: Setting =
    setting("CAPITUNE_RATE_LIMIT_UPLOAD", "1", "a whole number; 0 switches it off", "uploads per second and user");
pub(super) static TRUSTED_PROXIES: Setting = setting(
    "CAPITUNE_TRUSTED_PROXIES",
    "",
    "addresses or ranges such as 10.0.0.0/8, separated by commas",
    "the proxies whose forwarded headers count",
);
pub(super) static CORS_ORIGINS: Setting = setting(
    "CAPITUNE_CORS_ORIGINS",
    "",
    "origins such as https://app.example or http://localhost:5173, as browsers send them, separated by commas",
    "the origins whose pages may call the API from a browser",
);
pub(super) static MAX_REQUESTS: Setting = setting(
    "CAPITUNE_MAX_REQUESTS",
    "1024",
    "a whole number from 1 to 1000000",
    "the most requests in progress at once in one process; those beyond it are turned away",
);
pub(super) static EXPORTS: Setting = secret(setting(
    "CAPITUNE_EXPORTS",
    "",
    "file:///directory or s3://bucket/prefix",
    "where analysts' exports are kept, the same for all processes; in the data directory when it is not set",
));
pub(super) static ERASURE_LEDGER: Setting = secret(setting(
    "CAPITUNE_ERASURE_LEDGER",
    "",
    "file:///directory or s3://bucket/prefix",
    "where it is told outside the database who was erased, the same for all processes, so that a restored backup brings \
     nobody back",
));
pub(super) static SMALLEST_GROUP: Setting = setting(
    "CAPITUNE_SMALLEST_GROUP",
    "5",
    "a whole number from 1 to 1000",
    "how many the smallest group has that analysts are shown a figure of; 1 shows all",
);
pub(super) static REQUEST_TIMEOUT: Setting = setting(
    "CAPITUNE_REQUEST_TIMEOUT_SECONDS",
    "30",
    "a whole number from 1 to 3600",
    "how long a request may take, in seconds",
);
pub(super) static BODY_LIMIT: Setting = setting(
    "CAPITUNE_BODY_LIMIT_BYTES",
    "262144",
    "a whole number from 1024 to 1073741824",
    "the longest body of a request other than an upload, in bytes",
);
pub(super) static LOG: Setting =
    setting("CAPITUNE_LOG", "info", "a level, or a filter such as info,sqlx=warn", "what is logged");
pub(super) static LOG_FORMAT: Setting =
    setting("CAPITUNE_LOG_FORMAT", "text", "text or json", "how log lines are written");
pub(super) static UNSAFE_DURABILITY: Setting = setting(
    "CAPITUNE_UNSAFE_DURABILITY",
    "false",
    "true or false",
    "for tests only: accept a Postgres that may lose commits in a power loss, and run the embedded one so",
);
pub(super) static CONFIG: Setting = environment_only(setting(
    "CAPITUNE_CONFIG",
    "",
    "a TOML file",
    "a configuration file; the environment wins over it",
));
static PG_BIN: Setting = environment_only(setting(
    "CAPITUNE_PG_BIN",
    "",
    "a directory that holds initdb and postgres",
    "the Postgres programs of the embedded system; by default the newest installed",
));
static NATS_BIN: Setting = environment_only(setting(
    "CAPITUNE_NATS_BIN",
    "",
    "a program, version 2.10 or later",
    "the nats-server of the embedded system; by default one on the PATH, or the one that `make setup` fetched",
));

/// Every setting, in the order in which it is shown.
pub static SETTINGS: [&Setting; 34] = [
    &LISTEN,
    &METRICS_LISTEN,
    &DATA_DIR,
    &DATABASE_URL,
    &NATS_URL,
    &NATS_REPLICAS,
    &DATABASE_CONNECTIONS,
    &MASTER_KEY,
    &MASTER_KEY_FILE,
    &ADMIN_EMAIL,
    &ADMIN_PASSWORD,
    &REQUIRE_VERIFIED_EMAIL,
    &SMTP_URL,
    &MAIL_FROM,
    &PUBLIC_URL,
    &OIDC_PROVIDERS,
    &AUDIT_WITNESSES,
    &RATE_LIMIT_AUTH,
    &RATE_LIMIT_GENERAL,
    &RATE_LIMIT_UPLOAD,
    &TRUSTED_PROXIES,
    &CORS_ORIGINS,
    &MAX_REQUESTS,
    &EXPORTS,
    &ERASURE_LEDGER,
    &SMALLEST_GROUP,
    &REQUEST_TIMEOUT,
    &BODY_LIMIT,
    &LOG,
    &LOG_FORMAT,
    &UNSAFE_DURABILITY,
    &CONFIG,
    &PG_BIN,
    &NATS_BIN,
];

/// The table of settings for the documentation, in Markdown.
pub fn markdown() -> String {
    let mut table = String::from("| setting | default | accepted | what it does |\n|---|---|---|---|\n");
    for Setting { name, default, accepted, description, .. } in SETTINGS {
        let default = if default.is_empty() { "–".into() } else { format!("`{default}`") };
        // Writing to a string cannot fail.
        writeln!(table, "| `{name}` | {default} | {accepted} | {description} |").ok();
    }
    table
}
