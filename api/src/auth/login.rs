//! Proving who one is: by password, and by the second factor where there is one. Guessing gets slower, for the guesser
//! alone.

use uuid::Uuid;

use super::guesses::Bucket;
use super::passwords::{is_outdated, is_too_long};
use super::sessions::network_of;
use super::{ADDRESS, address_hash};
use crate::accesses::{Access, AccessAction};
use crate::app::App;
use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};

/// Wrong passwords in a row for one account from one network that cost nothing but the last.
const FREE_NEAR: i32 = 5;
/// The same from all networks that the account never logged in from, together: they cannot shut its owner out.
const FREE_ANYWHERE: i32 = 50;
/// Wrong codes in a row for one account, from wherever: who guesses them knows the password.
const FREE_CODES: i32 = 5;

/// What somebody proves by who they are.
pub struct Proof {
    /// The password.
    pub password: String,
    /// A code of the second factor, or a recovery code.
    pub totp: Option<String>,
}

/// The account that has this address, this password and this second factor.
///
/// # Errors
/// A 401 when something is wrong, an address that has to be proved is not, or a code is missing, a 403 for an account that
/// is shut out, a 429 after too many wrong guesses, a 503 when the store does not answer.
pub async fn log_in(app: &App, email: &str, proof: Proof, info: &RequestInfo) -> Result<Uuid, Problem> {
    let address = address_hash(app.vault(), email);
    let account = app.store().claim_owner(ADDRESS, &address).await?;
    let proved = async {
        // Whether or not there is one, the same questions are asked.
        let standing = app.auth().standing(account.unwrap_or_default()).await?;
        // Whoever registers an address, and tries to come in before it is proved, must not learn that it was free.
        let account = account.filter(|_| standing.verified || !app.requires_verified_email());
        let right = check_password(app, account, &address, proof.password, info).await?;
        let account = account.filter(|_| right.is_some()).ok_or_else(|| wrong(app))?;
        admit(app, account, proof.totp).await?;
        Ok(account)
    };
    let proved = proved.await;
    record(app, AccessAction::LogIn, info, account, &proved).await?;
    proved
}

fn wrong(app: &App) -> Problem {
    let problem = Problem::new(&codes::AUTH_INVALID_CREDENTIALS);
    match app.requires_verified_email() {
        false => problem,
        true => problem.with_detail(
            "the address or the password is wrong, or the address is not proved yet: look for our message",
            "l'adresse ou le mot de passe est faux, ou l'adresse n'est pas encore confirmée : cherchez notre message",
        ),
    }
}

/// Records a proof that was given or refused; whose it would have been, only that account and auditors learn.
async fn record(
    app: &App,
    action: AccessAction,
    info: &RequestInfo,
    account: Option<Uuid>,
    proved: &Result<Uuid, Problem>,
) -> Result<(), Problem> {
    let access = Access::new(action, info).concerning(account);
    match proved {
        Ok(account) => app.accesses().record(access.by(*account)).await,
        Err(problem) if problem.is_refusal() => app.accesses().record(access.refused(problem)).await,
        Err(_) => Ok(()),
    }
}

/// Proves again who one is, while one is signed in.
///
/// # Errors
/// As [`log_in`].
pub async fn prove_again(app: &App, account: Uuid, proof: Proof, info: &RequestInfo) -> Result<(), Problem> {
    let proved = async {
        let right = check_password(app, Some(account), &[], proof.password, info).await?;
        right.ok_or_else(|| Problem::new(&codes::AUTH_WRONG_PASSWORD))?;
        admit(app, account, proof.totp).await?;
        Ok(account)
    };
    let proved = proved.await;
    record(app, AccessAction::StepUp, info, Some(account), &proved).await?;
    proved.map(drop)
}

/// What is left to ask once the password is right.
async fn admit(app: &App, account: Uuid, code: Option<String>) -> Result<(), Problem> {
    let standing = app.auth().standing(account).await?;
    if !standing.active {
        return Err(Problem::new(&codes::ACCOUNT_SUSPENDED));
    }
    if app.requires_verified_email() && !standing.verified {
        return Err(Problem::new(&codes::ACCOUNT_UNVERIFIED));
    }
    if !app.auth().second_factors.is_on(account).await? {
        return Ok(());
    }
    let code = code.ok_or_else(|| Problem::new(&codes::AUTH_TOTP_REQUIRED))?;
    check_code(app, account, &code).await
}

/// Checks a code of the second factor, or a recovery code, and uses it up.
async fn check_code(app: &App, account: Uuid, code: &str) -> Result<(), Problem> {
    let guesses = &app.auth().guesses;
    let bucket = Bucket::new(app.vault(), &[b"code", account.as_bytes()], FREE_CODES);
    let _turn = guesses.turn(&bucket).await?;
    guesses.check(&[bucket]).await?;
    if app.auth().second_factors.accepts(app.vault(), account, code).await? {
        return guesses.right(&bucket).await;
    }
    guesses.wrong(&[bucket]).await?;
    Err(Problem::new(&codes::AUTH_INVALID_TOTP))
}

/// The hash of the password, if it is that of `account`, or of the one that goes by `name` and does not exist.
///
/// # Errors
/// A 429 after too many wrong ones, a 503 when the store does not answer.
pub async fn check_password(
    app: &App,
    account: Option<Uuid>,
    name: &[u8],
    password: String,
    info: &RequestInfo,
) -> Result<Option<String>, Problem> {
    let (auth, guesses) = (app.auth(), &app.auth().guesses);
    if is_too_long(&password) {
        return Ok(None);
    }
    let (id, client) = (account.unwrap_or_default(), info.client.as_ref());
    let whose = if account.is_some() { id.as_bytes() } else { name };
    let network = network_of(client);
    let near = Bucket::new(app.vault(), &[b"password", whose, network.as_bytes()], FREE_NEAR);
    let anywhere = Bucket::new(app.vault(), &[b"password", whose], FREE_ANYWHERE);
    let _turn = guesses.turn(&near).await?;
    let buckets = [near, anywhere];
    let counted = if auth.sessions.knows_network(app.vault(), id, client).await? { &buckets[..1] } else { &buckets };
    guesses.check(counted).await?;
    let hash = auth.password_hash(id).await?;
    let stand_in = auth.stand_in(app.vault(), whose).await?;
    let right = auth.passwords.verify(password.clone(), hash.clone(), stand_in).await? && account.is_some();
    let Some(hash) = hash.filter(|_| right) else {
        guesses.wrong(counted).await?;
        return Ok(None);
    };
    guesses.right(&near).await?;
    if !is_outdated(&hash) {
        return Ok(Some(hash));
    }
    let new = auth.passwords.hash(password).await?;
    let replaced = auth.replace_password(id, &hash, &new).await?;
    Ok(Some(if replaced { new } else { hash }))
}
