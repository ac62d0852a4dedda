//! Rate limits that hold across nodes: each node takes a caller's requests of a minute in blocks, and asks the
//! database again only when a block is used up.
//!
//! A limit counts in fixed windows, the minutes of the database's clock, so that up to twice as many may come around the
//! turn of one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use event_store::{Database, Vault};
use moka::sync::Cache;
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::config::RateLimits;
use crate::extract::same;
use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};

/// What lifts the limits for who holds the master key: `capitune demo`.
pub static PASS: HeaderName = HeaderName::from_static("capitune-pass");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Callers that are remembered, at most.
const CALLERS: u64 = 100_000;
const WINDOW: Duration = Duration::from_secs(60);
/// A block is this part of the limit: the more, the fewer questions, and the more is left unused on a quiet node.
const BLOCKS: u32 = 10;
/// Longer than this nobody waits to be counted.
const PATIENCE: Duration = Duration::from_millis(500);
const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// How many old counts one statement sweeps away.
const SWEPT_AT_ONCE: i64 = 10_000;

/// Takes a block, and says of which minute, how much of it is taken now, and in how many seconds it ends.
const TAKE: &str = "
    insert into rate_limits (bucket, minute, taken)
    values ($1, floor(extract(epoch from now()) / 60)::bigint, $2::integer)
    on conflict (bucket, minute) do update set
        taken = least(rate_limits.taken::bigint + excluded.taken, 2147483647)::integer
    returning minute, taken, (60 - mod(extract(epoch from now()), 60))::double precision";
const SWEEP: &str = "
    delete from rate_limits where (bucket, minute) in (
        select bucket, minute from rate_limits
        where minute < floor(extract(epoch from now()) / 60)::bigint - 2 limit $1)";

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    /// An account, on all routes but those of authentication.
    Account(Uuid),
    /// An address, on all routes but those of authentication.
    Address(IpAddr),
    /// An address, on the routes of authentication.
    Authenticating(IpAddr),
}

/// What is left to one caller in a window, as far as this node knows.
#[derive(Debug, Default)]
struct Left {
    /// None before the first.
    ends: Option<Instant>,
    /// By the database's clock.
    minute: i64,
    /// Of the blocks that this node has taken.
    here: u32,
    /// That no node had taken when this one asked last.
    elsewhere: u32,
    /// That this node has taken already, which counts also when the database does not answer.
    mine: u32,
}

/// One request, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    policy: &'static str,
    limit: u32,
    left: u32,
    allowed: bool,
    /// Seconds until the window ends.
    reset: u64,
}

/// The limits of one node.
pub struct Limiter {
    limits: RateLimits,
    writes: PgPool,
    callers: Cache<Who, Arc<Mutex<Left>>>,
}

impl Limiter {
    /// Counts by these limits, and sweeps old counts until `stop`.
    pub fn start(limits: RateLimits, database: &Database, stop: CancellationToken) -> Self {
        let writes = database.writes.clone();
        tokio::spawn(async move { stop.run_until_cancelled(keep_swept(writes)).await });
        Self { limits, writes: database.writes.clone(), callers: callers() }
    }

    /// Counts a request; nothing for those that no limit is meant for. Finding out who calls leaves the caller with the
    /// request.
    pub async fn count(&self, app: &App, request: &mut Request, info: &RequestInfo) -> Option<Counted> {
        let path = request.uri().path();
        let free = path.starts_with("/docs") || path.starts_with("/api-docs") || path == "/api/openapi.json";
        if free || request.method() == Method::OPTIONS {
            return None;
        }
        let address = info.client.as_ref()?.address.parse().map(network).ok()?;
        // Whoever verifies tokens asks for the keys, and not more often than for anything else.
        let authenticating = path.starts_with("/api/auth/") && path != "/api/auth/jwks.json";
        let (policy, limit) =
            if authenticating { ("auth", self.limits.auth) } else { ("general", self.limits.general) };
        if limit == 0 || has_pass(app.vault(), request.headers()) {
            return None;
        }
        let who = if authenticating { Who::Authenticating(address) } else { who(app, request, address).await };
        let (left, reset) = self.take(app.vault(), who, limit).await;
        Some(Counted { policy, limit, left: left.unwrap_or(0), allowed: left.is_some(), reset })
    }

    /// Counts an upload, which is more work than a row: all nodes count together, by the time of the last one.
    ///
    /// # Errors
    /// A 429 when the last one was too short a while ago, a 503 when the database does not answer.
    pub async fn upload(&self, account: Uuid) -> Result<(), Problem> {
        if self.limits.upload == 0 {
            return Ok(());
        }
        let taken = "insert into uploads (account_id, at) values ($1, clock_timestamp())
                     on conflict (account_id) do update set at = excluded.at
                     where uploads.at <= excluded.at - make_interval(secs => $2)";
        let between = 1.0 / f64::from(self.limits.upload);
        let taken = sqlx::query(taken).bind(account).bind(between).execute(&self.writes).await?;
        match taken.rows_affected() {
            0 => Err(Problem::new(&codes::RATE_LIMITED).with_retry_after(1)),
            _ => Ok(()),
        }
    }

    /// Takes one of the caller's requests: how many are left then, nothing when there was none; and in how many seconds
    /// they are renewed.
    async fn take(&self, vault: &Vault, who: Who, limit: u32) -> (Option<u32>, u64) {
        let entry = self.callers.get_with(who, Arc::default);
        let mut left = entry.lock().await;
        let now = Instant::now();
        if left.ends.is_none_or(|ends| ends <= now) {
            *left = Left { ends: Some(now + WINDOW), elsewhere: limit, ..Left::default() };
        }
        if left.here == 0 && left.elsewhere > 0 {
            self.take_block(vault, who, limit, &mut left).await;
        }
        let rest = left.ends.map_or(WINDOW, |ends| ends.saturating_duration_since(Instant::now()));
        let reset = rest.as_secs_f64().ceil().clamp(1.0, WINDOW.as_secs_f64()) as u64;
        let taken = left.here.checked_sub(1);
        left.here = taken.unwrap_or(0);
        (taken.map(|here| here + left.elsewhere), reset)
    }

    async fn take_block(&self, vault: &Vault, who: Who, limit: u32, left: &mut Left) {
        let block = (limit / BLOCKS).max(1);
        let bucket = vault.keyed_hash("rate limit", format!("{who:?}").as_bytes());
        let asked = Instant::now();
        // Every node's block is another part of the count, and only what lies below the limit is given.
        let taken = sqlx::query_as::<_, (i64, i32, f64)>(TAKE)
            .bind(bucket.as_slice())
            .bind(i64::from(block))
            .fetch_one(&self.writes);
        let Ok(Ok((minute, taken, rest))) = timeout(PATIENCE, taken).await else {
            // To refuse everybody because nobody counts would be worse than to count alone, for the rest of the window.
            left.here = limit.saturating_sub(left.mine);
            left.elsewhere = 0;
            return;
        };
        let taken = taken.unsigned_abs().max(block);
        left.ends = Some(asked + Duration::try_from_secs_f64(rest).unwrap_or(WINDOW));
        left.mine = if left.minute == minute { left.mine + block } else { block };
        left.minute = minute;
        left.here = limit.saturating_sub(taken - block).min(block);
        left.elsewhere = limit.saturating_sub(taken);
    }
}

/// What is remembered of callers: bounded, whoever calls.
fn callers() -> Cache<Who, Arc<Mutex<Left>>> {
    Cache::builder().max_capacity(CALLERS).time_to_idle(2 * WINDOW).build()
}

/// The account behind a valid token, or else the address.
async fn who(app: &App, request: &mut Request, address: IpAddr) -> Who {
    let (mut parts, body) = std::mem::take(request).into_parts();
    let caller = Caller::from_request_parts(&mut parts, app).await;
    *request = Request::from_parts(parts, body);
    caller.map_or(Who::Address(address), |caller| Who::Account(caller.id()))
}

/// The network that an address counts by: whoever has an IPv6 address has at least 2^64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

/// The pass of this minute.
pub fn pass(vault: &Vault) -> HeaderValue {
    HeaderValue::from_str(&pass_of(vault, minute())).unwrap_or(HeaderValue::from_static(""))
}

fn has_pass(vault: &Vault, headers: &HeaderMap) -> bool {
    let Some(shown) = headers.get(&PASS) else { return false };
    let minute = minute();
    [minute, minute.saturating_sub(1)]
        .into_iter()
        .any(|minute| same(pass_of(vault, minute).as_bytes(), shown.as_bytes()))
}

fn minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60
}

fn pass_of(vault: &Vault, minute: u64) -> String {
    let hash = vault.keyed_hash("rate limit pass", &minute.to_be_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Counted {
    /// Why the request is not served, if it is not.
    pub fn refusal(&self) -> Option<Problem> {
        let wait = u32::try_from(self.reset).unwrap_or(u32::MAX);
        (!self.allowed).then(|| Problem::new(&codes::RATE_LIMITED).with_retry_after(wait))
    }

    /// Tells how much is left.
    pub fn mark(&self, headers: &mut HeaderMap) {
        let Self { policy, limit, left, reset, .. } = self;
        let policy_line = format!("\"{policy}\";q={limit};w={}", WINDOW.as_secs());
        for (name, line) in [(&POLICY, policy_line), (&LIMIT, format!("\"{policy}\";r={left};t={reset}"))] {
            if let Ok(value) = HeaderValue::from_str(&line) {
                headers.insert(name, value);
            }
        }
    }
}

async fn keep_swept(writes: PgPool) {
    let mut tick = interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = sweep(&writes).await {
            tracing::debug!(%error, "old counts could not be swept");
        }
    }
}

/// Forgets old counts, a few at a time.
async fn sweep(writes: &PgPool) -> Result<(), sqlx::Error> {
    let at_once = SWEPT_AT_ONCE.unsigned_abs();
    while sqlx::query(SWEEP).bind(SWEPT_AT_ONCE).execute(writes).await?.rows_affected() == at_once {}
    let uploads = "delete from uploads where at < clock_timestamp() - interval '1 minute'";
    sqlx::query(uploads).execute(writes).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_by_its_network() {
        let network_of = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(network_of("203.0.113.7"), "203.0.113.7");
        assert_eq!(network_of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network_of("2001:db8:1:2:ffff::1"), network_of("2001:db8:1:2::9"));
        assert_ne!(network_of("2001:db8:1:3::1"), network_of("2001:db8:1:2::1"));
    }

    #[test]
    fn callers_without_number_take_no_memory_without_end() {
        let callers = callers();
        for number in 0..2 * u128::from(CALLERS) {
            callers.get_with(Who::Account(Uuid::from_u128(number)), Arc::default);
        }
        callers.run_pending_tasks();
        assert!(callers.entry_count() <= CALLERS);
    }
}
