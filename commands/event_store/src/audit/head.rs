//! Signed tree heads, as C2SP checkpoints: a signed note that any witness of transparency logs understands.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::tree::Hash;

const ALGORITHM: u8 = 1;
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// What a head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHead {
    /// Which log: `capitune/` and its id. Also the name of the keys that sign.
    pub origin: String,
    /// How many events it covers.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// When it was signed, in microseconds.
    pub at: DateTime<Utc>,
}

impl TreeHead {
    /// The text that is signed: origin, size, root in base64, and the time, each on a line.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\nat {}\n", self.origin, self.size, self.root, self.time())
    }

    /// The time, as it is signed.
    pub fn time(&self) -> String {
        self.at.format(TIME).to_string()
    }
}

impl FromStr for TreeHead {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines();
        let mut next = || lines.next().ok_or(NotAHead("a line is missing"));
        let origin = next()?.to_owned();
        let size = next()?.parse().map_err(|_| NotAHead("the size is no number"))?;
        let root = next()?.parse().map_err(|_| NotAHead("the root is no hash"))?;
        let at = next()?.strip_prefix("at ").ok_or(NotAHead("the time is missing"))?;
        let at = NaiveDateTime::parse_from_str(at, TIME).map_err(|_| NotAHead("the time is none"))?.and_utc();
        let head = Self { origin, size, root, at };
        (head.text() == text).then_some(head).ok_or(NotAHead("it is written in another way"))
    }
}

/// A text that is no signed head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signed tree head: {0}")]
pub struct NotAHead(&'static str);

/// A key by the first bytes of a hash of its name and itself, as signed notes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// The id as a number.
    pub(crate) fn number(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    /// The id from its number.
    pub(crate) fn from_number(number: u32) -> Self {
        Self(number.to_be_bytes())
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.number())
    }
}

/// A public key that verifies heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    /// Which log it signs for.
    pub origin: String,
    /// Its 32 bytes.
    pub public_key: [u8; 32],
}

impl VerifierKey {
    /// Its id.
    pub fn id(&self) -> KeyId {
        let hashed = digest(&SHA256, &[self.origin.as_bytes(), b"\n", &self.encoded()].concat());
        let mut id = [0; 4];
        id.copy_from_slice(&hashed.as_ref()[..4]);
        KeyId(id)
    }

    fn encoded(&self) -> Vec<u8> {
        [&[ALGORITHM], self.public_key.as_slice()].concat()
    }

    /// Whether this key signed the text.
    pub fn verifies(&self, text: &str, signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public_key).verify(text.as_bytes(), signature).is_ok()
    }
}

/// As signed notes write it: name, id and key, joined by `+`.
impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}+{}", self.origin, self.id(), STANDARD.encode(self.encoded()))
    }
}

impl FromStr for VerifierKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "a verifier key is a name, an id and a key in base64, joined by +";
        // Base64 may hold a plus of its own.
        let mut parts = text.splitn(3, '+');
        let (Some(origin), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SHAPE);
        };
        let encoded = STANDARD.decode(encoded).map_err(|_| SHAPE)?;
        let [ALGORITHM, public_key @ ..] = encoded.as_slice() else { return Err("the key is not for Ed25519") };
        let public_key = public_key.try_into().map_err(|_| "the key is not of 32 bytes")?;
        let key = Self { origin: origin.to_owned(), public_key };
        if key.id().to_string() == id { Ok(key) } else { Err("the key's id is that of another") }
    }
}

/// A key that signs heads.
pub struct HeadKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl HeadKey {
    /// From its seed; `None` when that is no key.
    pub fn new(origin: String, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public_key = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, verifier: VerifierKey { origin, public_key } })
    }

    /// What verifies its signatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its signature of a text.
    pub fn sign(&self, text: &str) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        signature
    }
}

/// A head and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// What it says.
    pub head: TreeHead,
    /// By which key it was signed.
    pub key_id: KeyId,
    /// The signature of its text.
    pub signature: [u8; 64],
}

impl SignedHead {
    /// A head, signed.
    pub fn sign(head: TreeHead, key: &HeadKey) -> Self {
        let signature = key.sign(&head.text());
        Self { head, key_id: key.verifier().id(), signature }
    }

    /// Whether this key signed it.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        key.id() == self.key_id && key.origin == self.head.origin && key.verifies(&self.head.text(), &self.signature)
    }

    /// The head as a signed note.
    pub fn note(&self) -> String {
        let signature = STANDARD.encode([self.key_id.0.as_slice(), &self.signature].concat());
        format!("{}\n— {} {signature}\n", self.head.text(), self.head.origin)
    }
}

impl FromStr for SignedHead {
    type Err = NotAHead;

    fn from_str(note: &str) -> Result<Self, Self::Err> {
        let (text, signatures) = note.split_once("\n\n").ok_or(NotAHead("there is no signature"))?;
        let head: TreeHead = format!("{text}\n").parse()?;
        // Witnesses add lines of their own.
        let own = signatures.lines().find_map(|line| line.strip_prefix("— ")?.strip_prefix(&head.origin));
        let own = own.ok_or(NotAHead("the log did not sign it"))?;
        let bytes = STANDARD.decode(own.trim()).map_err(|_| NotAHead("the signature is not base64"))?;
        let (id, signature) = bytes.split_at_checked(4).ok_or(NotAHead("the signature is too short"))?;
        let (Ok(id), Ok(signature)) = (id.try_into(), signature.try_into()) else {
            return Err(NotAHead("the signature has another length"));
        };
        Ok(Self { head, key_id: KeyId(id), signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> HeadKey {
        HeadKey::new("capitune/log".to_owned(), &[seed; 32]).unwrap()
    }

    fn head() -> TreeHead {
        let at = "2026-11-20T10:00:00.000001Z".parse().unwrap();
        TreeHead { origin: "capitune/log".to_owned(), size: 7, root: Hash::of_nothing(), at }
    }

    #[test]
    fn a_head_comes_back_from_its_note_and_is_verified() {
        let signed = SignedHead::sign(head(), &key(1));
        assert_eq!(signed.note().parse(), Ok(signed.clone()));
        assert!(signed.is_signed_by(key(1).verifier()));
        assert!(!signed.is_signed_by(key(2).verifier()));
        let witnessed = format!("{}— witness.example AAAAAAAA\n", signed.note());
        assert_eq!(witnessed.parse(), Ok(signed.clone()));
        let forged = SignedHead { head: TreeHead { size: 8, ..head() }, ..signed };
        assert!(!forged.is_signed_by(key(1).verifier()));
    }

    #[test]
    fn what_is_no_head_is_told_from_one() {
        let note = SignedHead::sign(head(), &key(1)).note();
        for wrong in
            ["", "\n\n", "capitune/log\n7\n", &note[..note.len() - 9], &note.replace("\n7\n", "\n07\n"), "\n\n\n"]
        {
            wrong.parse::<SignedHead>().unwrap_err();
        }
        note.replace("— capitune/log", "— another").parse::<SignedHead>().unwrap_err();
    }

    #[test]
    fn a_verifier_key_comes_back_from_its_text() {
        for seed in 0..50 {
            let key = key(seed);
            assert_eq!(key.verifier().to_string().parse(), Ok(key.verifier().clone()));
        }
        let text = key(1).verifier().to_string();
        for wrong in ["", "a+b", &text.replacen("capitune", "another", 1), &text[..text.len() - 4]] {
            wrong.parse::<VerifierKey>().unwrap_err();
        }
    }
}
