//! Which Postgres and which nats-server are used.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;
use super::process::RunAs;

const POSTGRES_MINIMUM: u32 = 14;
const NATS_MINIMUM: (u32, u32) = (2, 10);

/// The directory of the Postgres programs: `CAPITUNE_PG_BIN`, or the newest installed. `cluster` is the major version
/// that an existing data directory needs.
pub(super) fn postgres(cluster: Option<u32>, user: Option<&RunAs>) -> Result<PathBuf, EmbeddedError> {
    let serves = |directory: &Path| {
        let server = directory.join("postgres");
        let major = version(&server).filter(|_| directory.join("initdb").exists())?.0;
        let wanted = cluster.map_or(major >= POSTGRES_MINIMUM, |cluster| cluster == major);
        (wanted && may_execute(&server, user)).then(|| directory.to_path_buf())
    };
    let wanted = match cluster {
        Some(cluster) => {
            format!("the data directory was made by version {cluster}, which is needed again")
        }
        None => format!("version {POSTGRES_MINIMUM} or later is needed"),
    };
    if let Some(given) = env::var_os("CAPITUNE_PG_BIN") {
        let refusal = || EmbeddedError::NoPostgres(format!("{wanted}, and CAPITUNE_PG_BIN does not hold it"));
        return serves(Path::new(&given)).ok_or_else(refusal);
    }
    postgres_places().iter().find_map(|directory| serves(directory)).ok_or(EmbeddedError::NoPostgres(wanted))
}

/// Where Postgres is usually installed, the newest first, and then the `PATH`.
fn postgres_places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = numbered("/usr/lib/postgresql", "");
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        places.extend(numbered(homebrew, "postgresql@"));
    }
    for place in &mut places {
        place.push("bin");
    }
    places.extend(path());
    places
}

/// The directories in `parent` named `prefix` and a number, the highest first.
fn numbered(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?, entry.path())))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// The nats-server program: `CAPITUNE_NATS_BIN`, or one on the `PATH` that is recent enough, or the one that
/// `make setup` fetched.
pub(super) fn nats_server(user: Option<&RunAs>) -> Result<PathBuf, EmbeddedError> {
    let serves = |program: &Path| version(program).is_some_and(|it| it >= NATS_MINIMUM) && may_execute(program, user);
    if let Some(given) = env::var_os("CAPITUNE_NATS_BIN").map(PathBuf::from) {
        let refusal = "CAPITUNE_NATS_BIN is no nats-server 2.10 or later that the servers' user can execute";
        return if serves(&given) { Ok(given) } else { Err(EmbeddedError::NoNats(refusal.into())) };
    }
    let places = path().into_iter().chain(cache(user));
    let programs = places.map(|directory| directory.join("nats-server"));
    let found = programs.into_iter().find(|program| serves(program));
    found.ok_or_else(|| EmbeddedError::NoNats("version 2.10 or later is needed".into()))
}

/// Where `make setup` puts what it fetches.
fn cache(user: Option<&RunAs>) -> Option<PathBuf> {
    if user.is_some() {
        return Some("/var/cache/capitune/bin".into());
    }
    let cache = env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || env::home_dir().map(|home| home.join(".cache"));
    cache.or_else(home).map(|cache| cache.join("capitune/bin"))
}

fn path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Whether the user that the server will run as can reach and execute the program.
fn may_execute(program: &Path, user: Option<&RunAs>) -> bool {
    let Some(user) = user else { return true };
    program.canonicalize().is_ok_and(|program| user.closed_on_the_way(&program).is_none())
}

/// The major and minor version that a program tells; none when it does not run.
fn version(program: &Path) -> Option<(u32, u32)> {
    if !program.exists() {
        return None;
    }
    let output = Command::new(program).arg("--version").env("LC_ALL", "C").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().map(|word| word.trim_start_matches('v'));
    let number = number.into_iter().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut parts = number.split(|part: char| !part.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn a_version_is_read_from_what_a_program_says() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), Some((18, 0)));
        assert_eq!(parse_version("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(parse_version("command not found"), None);
    }
}
