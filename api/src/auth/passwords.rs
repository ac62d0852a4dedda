//! Passwords: what they must be, and their hashes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::FieldError;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use zxcvbn::zxcvbn;

use crate::problem::{Problem, codes};

const SHORTEST: usize = 8;
const LONGEST_BYTES: usize = 256;
/// A password is refused that would be among the first so many guesses: more than the waits between wrong ones leave to
/// anybody in days. Longer ones are not.
const GUESSED: u64 = 500;
const GUESSED_LENGTH: usize = 40;
/// Hashes that wait for a thread, at most; beyond them nobody waits.
const QUEUE: usize = 64;
/// A hash that no password has, and that takes as long to compare with as any of ours.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$JxkyYj0EKLZv3uFLN1p3nhR7bA8kmqEw3nnb7qZ8c0s";
/// The same by bcrypt, after its cost.
const NOBODY_BY_BCRYPT: &str = "$......................4vnrwGVoKCBfYqaDjDBAmfDUKZ7wBMe";

/// How a hash of ours begins.
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
/// How a hash that was imported may begin.
pub const BCRYPT: &str = "$2";
/// The most that an imported hash may cost, in bcrypt's powers of two and argon2's KiB, passes and lanes: each log-in pays.
const MOST_BCRYPT: u32 = 15;
const MOST_ARGON2: (u32, u32, u32) = (262_144, 10, 8);

/// How far hashing stands back when there is other work in this process: it gets a tenth of what that gets, so that even
/// on a crowded machine a hash ends.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// A hash that took so many times as long as it was at work had to share its core: with Postgres, which no niceness of
/// ours reaches where each service has its own share, or with anybody else.
const CROWDED: f64 = 1.1;
/// How many other requests must have come meanwhile for hashing to be in their way.
const BUSY: u64 = 8;
/// How long hashing then rests, in times that it took, and at most: one that took long because nothing was left for it
/// has stood back already.
const REST: u32 = 8;
const LONGEST_REST: Duration = Duration::from_millis(500);
/// How long anybody waits for a hash.
const PATIENCE: Duration = Duration::from_secs(8);

type Job = Box<dyn FnOnce() + Send>;

/// Hashes passwords on half of the cores at most, on threads of its own that rest while they are in the way of others.
#[derive(Clone)]
pub struct Passwords {
    jobs: mpsc::Sender<Job>,
    queue: Arc<Semaphore>,
    /// Other requests, so far.
    others: Arc<AtomicU64>,
}

impl Passwords {
    /// Ready to hash.
    pub fn new() -> Self {
        let threads = (available_parallelism().map_or(1, usize::from) / 2).max(1);
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (waiting, others) = (Arc::new(Mutex::new(waiting)), Arc::new(AtomicU64::new(0)));
        for _ in 0..threads {
            let (waiting, others) = (waiting.clone(), others.clone());
            std::thread::spawn(move || hash_by_turns(&waiting, &others));
        }
        Self { jobs, queue: Arc::new(Semaphore::new(threads + QUEUE)), others }
    }

    /// Counts a request that is not about passwords.
    pub fn note_other(&self) {
        self.others.fetch_add(1, Ordering::Relaxed);
    }

    /// The hash of a password, as a PHC string.
    ///
    /// # Errors
    /// A 503 when too many wait already, or it took too long.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        let hash = move || Ok(argon2()?.hash_password(password.as_bytes())?.to_string());
        self.run(hash).await
    }

    /// Whether the password has this hash. Without a hash it is wrong, and that takes as long to find out as by the hash
    /// that stands in.
    ///
    /// # Errors
    /// A 503 when too many wait already, or it took too long.
    pub async fn verify(&self, password: String, hash: Option<String>, stand_in: StandIn) -> Result<bool, Problem> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| stand_in.hash());
            if hash.starts_with(BCRYPT) {
                let matches = bcrypt::verify(&password, &hash);
                return matches.map(|matches| known && matches).map_err(|_| password_hash::Error::EncodingInvalid);
            }
            let parsed = PasswordHash::new(&hash).map_err(|_| password_hash::Error::EncodingInvalid)?;
            let matches = argon2()?.verify_password(password.as_bytes(), &parsed);
            Ok(known && matches.is_ok())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::new(&codes::AUTH_BUSY).with_retry_after(1);
        let internal = || Problem::new(&codes::INTERNAL);
        // The place goes with the work: a client that hangs up does not make room for one more.
        let place = self.queue.clone().try_acquire_owned().map_err(|_| busy())?;
        let (done, result) = oneshot::channel();
        let job = move || {
            if !done.is_closed() {
                done.send(work()).ok();
            }
            drop(place);
        };
        self.jobs.send(Box::new(job)).map_err(|_| internal())?;
        let result = timeout(PATIENCE, result).await.map_err(|_| busy())?;
        result.map_err(|_| internal())?.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            internal()
        })
    }
}

/// One thread's life: it ends when nobody has passwords any more.
fn hash_by_turns(waiting: &Mutex<mpsc::Receiver<Job>>, others: &AtomicU64) {
    // On Linux it is of this thread alone. Where it is not allowed, hashing competes with the rest.
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(None, NICENESS).ok();
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let (began, worked, before) = (Instant::now(), work_of_this_thread(), others.load(Ordering::Relaxed));
        match job {
            // Whoever waits for a job that panicked hears that it is gone.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(_) => return,
        }
        let (took, worked) = (began.elapsed(), work_of_this_thread().saturating_sub(worked));
        let meanwhile = others.load(Ordering::Relaxed) - before;
        if meanwhile >= BUSY && took > worked.mul_f64(CROWDED) {
            std::thread::sleep((took * REST).min(LONGEST_REST));
        }
    }
}

/// How long a core has worked for this thread.
fn work_of_this_thread() -> Duration {
    let worked = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(worked).unwrap_or_default()
}

/// argon2id with the least memory and time that OWASP recommends.
fn argon2() -> Result<Argon2<'static>, password_hash::Error> {
    let params = Params::new(19_456, 2, 1, None).map_err(|_| password_hash::Error::ParamsInvalid)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// What stands in for the hash of a password that there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// A hash of ours.
    Argon2,
    /// A hash by bcrypt of this cost, as it was imported.
    Bcrypt(u32),
}

impl StandIn {
    fn hash(self) -> String {
        match self {
            Self::Argon2 => NOBODY.to_owned(),
            Self::Bcrypt(cost) => format!("$2b${cost:02}{NOBODY_BY_BCRYPT}"),
        }
    }
}

/// The cost of a hash by bcrypt; nothing for any other.
pub fn bcrypt_cost(hash: &str) -> Option<u32> {
    hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost())
}

/// Whether a hash that was made elsewhere can be understood, and costs no more than is sensible.
pub fn is_importable(hash: &str) -> bool {
    if hash.starts_with(BCRYPT) {
        return bcrypt_cost(hash).is_some_and(|cost| (4..=MOST_BCRYPT).contains(&cost));
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    let Ok(params) = Params::try_from(&parsed) else { return false };
    let (memory, passes, lanes) = MOST_ARGON2;
    hash.starts_with("$argon2id$")
        && parsed.hash.is_some()
        && params.m_cost() <= memory
        && params.t_cost() <= passes
        && params.p_cost() <= lanes
}

/// Whether a hash is to be replaced when its password is next known.
pub fn is_outdated(hash: &str) -> bool {
    !hash.starts_with(CURRENT)
}

/// Checks a new password, before anything is computed of it.
pub fn check(errors: &mut Vec<FieldError>, pointer: &str, password: &str) {
    if password.chars().count() < SHORTEST {
        let detail = format!("must have at least {SHORTEST} characters");
        errors.push(FieldError::new(pointer, "field.too_short", detail));
    } else if password.len() > LONGEST_BYTES {
        let detail = format!("must take at most {LONGEST_BYTES} bytes");
        errors.push(FieldError::new(pointer, "field.too_long", detail));
    }
}

/// As [`check`], and that the password is none of the first that anybody guesses.
pub fn check_chosen(errors: &mut Vec<FieldError>, pointer: &str, password: &str) {
    let before = errors.len();
    check(errors, pointer, password);
    if errors.len() == before && password.len() <= GUESSED_LENGTH && zxcvbn(password, &[]).guesses() < GUESSED {
        let detail = "is one of the first that anybody guesses, and was found in many breaches";
        errors.push(FieldError::new(pointer, "password.breached", detail));
    }
}

/// Whether a password is so long that it cannot be anybody's.
pub fn is_too_long(password: &str) -> bool {
    password.len() > LONGEST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_has_its_hash_and_no_other() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(!is_outdated(&hash));
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone()), StandIn::Argon2).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(hash), StandIn::Argon2).await.unwrap());
        for nobody in [StandIn::Argon2, StandIn::Bcrypt(4)] {
            assert!(!passwords.verify("nobody's password".to_owned(), None, nobody).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_hash_by_bcrypt_is_understood_and_outdated() {
        let passwords = Passwords::new();
        let hash = bcrypt::hash("correct horse", 4).unwrap();
        assert!(is_outdated(&hash));
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone()), StandIn::Argon2).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(hash), StandIn::Argon2).await.unwrap());
        let nonsense = Some("$2b$nonsense".to_owned());
        passwords.verify("correct horse".to_owned(), nonsense, StandIn::Argon2).await.unwrap_err();
    }

    #[test]
    fn what_is_imported_can_be_understood_and_costs_no_more_than_is_sensible() {
        let bcrypt = bcrypt::hash("correct horse", 4).unwrap();
        assert_eq!(bcrypt_cost(&bcrypt), Some(4));
        for fine in [&bcrypt, &bcrypt.replace("$2b$", "$2a$"), &bcrypt.replace("$2b$", "$2y$"), NOBODY] {
            assert!(is_importable(fine), "{fine}");
        }
        assert!(is_importable(&StandIn::Bcrypt(15).hash()));
        for wrong in [
            "",
            "a password",
            "$2b$nonsense",
            &bcrypt.replace("$04$", "$16$"),
            &bcrypt[..59],
            &NOBODY.replace("argon2id", "argon2i"),
            &NOBODY.replace("m=19456", "m=1048576"),
            &NOBODY.replace("t=2", "t=11"),
            "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA",
            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
        ] {
            assert!(!is_importable(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_neither_short_nor_endless() {
        let refused = |password: &str| {
            let mut errors = Vec::new();
            check_chosen(&mut errors, "/password", password);
            errors.first().map(|error| error.code.clone())
        };
        assert_eq!(refused("1234567").as_deref(), Some("field.too_short"));
        assert_eq!(refused("mot de passe très long et accentué"), None);
        assert_eq!(refused(&"x".repeat(256)), None);
        assert_eq!(refused(&"x".repeat(10_000)).as_deref(), Some("field.too_long"));
        for known in ["password", "12345678", "iloveyou", "qwertyuiop", "password1", "Password"] {
            assert_eq!(refused(known).as_deref(), Some("password.breached"), "{known}");
        }
        for fine in ["correct horse battery staple", "a password for tests", "Tr0ub4dor&3", "日本語のパスワード"]
        {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }
}
