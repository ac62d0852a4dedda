//! The tokens in links: signed, and good without being stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use event_store::Vault;
use uuid::Uuid;

use crate::auth::address_hash;
use crate::extract::same;

const ACCOUNT: usize = 16;
const EXPIRY: usize = 8;
const TAG: usize = 32;

/// What a link is for; each is bound to something that changes once it has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves an address; bound to that address's hash.
    VerifyAddress,
    /// Replaces a forgotten password; bound to [`resetting`], so good once.
    ResetPassword,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::VerifyAddress => "mail.verify",
            Self::ResetPassword => "mail.reset",
        }
    }
}

/// What a token that replaces a password is bound to: the address that it is sent to, which it proves, and the hash of
/// the password, which it ends.
pub fn resetting(vault: &Vault, email: &str, password_hash: Option<&str>) -> Vec<u8> {
    // The hash of the address has a fixed length.
    [address_hash(vault, email).as_slice(), password_hash.unwrap_or_default().as_bytes()].concat()
}

/// A token for `account` until `expires`, bound to a value that is not in it.
pub fn issue(vault: &Vault, purpose: Purpose, account: Uuid, expires: DateTime<Utc>, bound_to: &[u8]) -> String {
    let mut token = account.as_bytes().to_vec();
    token.extend(expires.timestamp().to_be_bytes());
    let tag = tag(vault, purpose, &token, bound_to);
    token.extend(tag);
    URL_SAFE_NO_PAD.encode(token)
}

/// Whose token it claims to be; nothing is proved before [`is_good`].
pub fn account_of(token: &str) -> Option<Uuid> {
    let bytes = decode(token)?;
    Uuid::from_slice(&bytes[..ACCOUNT]).ok()
}

/// Whether a token is ours, for this value, and good now.
pub fn is_good(vault: &Vault, purpose: Purpose, token: &str, now: DateTime<Utc>, bound_to: &[u8]) -> bool {
    let Some(bytes) = decode(token) else { return false };
    let (content, given) = bytes.split_at(ACCOUNT + EXPIRY);
    let mut expires = [0; EXPIRY];
    expires.copy_from_slice(&content[ACCOUNT..]);
    same(given, &tag(vault, purpose, content, bound_to)) && i64::from_be_bytes(expires) > now.timestamp()
}

fn decode(token: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == ACCOUNT + EXPIRY + TAG)
}

/// `content` has a fixed length, so that nothing can move from it into `bound_to`.
fn tag(vault: &Vault, purpose: Purpose, content: &[u8], bound_to: &[u8]) -> [u8; TAG] {
    vault.keyed_hash(purpose.name(), &[content, bound_to].concat())
}
