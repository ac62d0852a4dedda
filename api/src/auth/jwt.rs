//! Access tokens: JWTs signed with Ed25519, by keys that every process of an instance derives for itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use event_store::Vault;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::signing_keys::SigningKey;

/// How long an access token is good, in seconds.
pub const LIFETIME: u32 = 3600;

/// Clocks may differ by this many seconds.
const LEEWAY: u64 = 5;
const TYPE: &str = "at+jwt";
const AUDIENCE: &str = "capitune";

/// What an access token says. Every claim is required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Which instance issued it.
    pub iss: String,
    /// For whom it is.
    pub aud: String,
    /// The account.
    pub sub: Uuid,
    /// When it was issued, in seconds.
    pub iat: i64,
    /// From when it is good.
    pub nbf: i64,
    /// Until when it is good.
    pub exp: i64,
    /// Its own id.
    pub jti: Uuid,
    /// The session.
    pub sid: Uuid,
}

/// The public key of access tokens, as RFC 8037 describes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Jwk {
    /// `OKP`.
    kty: &'static str,
    /// `Ed25519`.
    crv: &'static str,
    /// `sig`.
    r#use: &'static str,
    /// `EdDSA`.
    alg: &'static str,
    /// The thumbprint of RFC 7638, by which the header of a token names its key.
    kid: String,
    /// The key itself, base64url.
    x: String,
}

impl Jwk {
    fn new(public: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        let required = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, required.as_bytes()));
        Self { kty: "OKP", crv: "Ed25519", r#use: "sig", alg: "EdDSA", kid, x }
    }
}

/// Signs and verifies the access tokens of one instance.
pub struct Jwt {
    issuer: String,
    /// In the order in which they sign.
    keys: Vec<Key>,
    validation: Validation,
}

struct Key {
    active_from: DateTime<Utc>,
    public: Jwk,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Key {
    fn derive(vault: &Vault, key: &SigningKey) -> Result<Self, Error> {
        let seed = vault.keyed_hash("signing key", key.id.as_bytes());
        let public = key_pair(&seed)?.public_key().as_ref().to_vec();
        Ok(Self {
            active_from: key.active_from,
            public: Jwk::new(&public),
            signing: EncodingKey::from_ed_der(&seed),
            verifying: DecodingKey::from_ed_der(&public),
        })
    }
}

impl Jwt {
    /// The tokens of the instance that `vault` belongs to, by these keys; `log` is the id of its log.
    ///
    /// # Errors
    /// [`Error`] when a key cannot be made.
    pub fn new(vault: &Vault, log: Uuid, keys: &[SigningKey]) -> Result<Self, Error> {
        // Set before: another instance in this process uses the same provider.
        PROVIDER.install_default().ok();
        let keys = keys.iter().map(|key| Key::derive(vault, key)).collect::<Result<_, _>>()?;
        let issuer = format!("urn:capitune:{log}");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Ok(Self { issuer, keys, validation })
    }

    /// The keys that tokens are verified by, those that do not sign yet included.
    pub fn public(&self) -> Vec<Jwk> {
        self.keys.iter().map(|key| key.public.clone()).collect()
    }

    /// Whether there is a key of this name.
    pub fn knows(&self, kid: &str) -> bool {
        self.key(kid).is_some()
    }

    fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.public.kid == kid)
    }

    /// The key that signs at present: by a clock that is behind, the first.
    fn current(&self) -> Option<&Key> {
        let now = Utc::now();
        self.keys.iter().rfind(|key| key.active_from <= now).or(self.keys.first())
    }

    /// A token for one session of an account.
    ///
    /// # Errors
    /// [`Error`] when it cannot be signed.
    pub fn issue(&self, account: Uuid, session: Uuid) -> Result<String, Error> {
        let now = Utc::now().timestamp();
        let key = self.current().ok_or(ErrorKind::InvalidEddsaKey)?;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: account,
            iat: now,
            nbf: now,
            exp: now + i64::from(LIFETIME),
            jti: Uuid::now_v7(),
            sid: session,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.public.kid.clone());
        jsonwebtoken::encode(&header, &claims, &key.signing)
    }

    /// What a token says, if it is one of ours and good now.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let key = self.key(&key_id(token)?)?;
        let data = jsonwebtoken::decode::<Claims>(token, &key.verifying, &self.validation).ok()?;
        let ours = data.header.typ.as_deref() == Some(TYPE) && data.header.crit.is_none();
        let Claims { iat, nbf, exp, .. } = data.claims;
        let now = Utc::now().timestamp();
        let timely = iat <= now + LEEWAY as i64 && nbf <= exp && exp - iat <= i64::from(LIFETIME);
        (ours && timely).then_some(data.claims)
    }
}

/// The name of the key that a token says it is signed with.
pub fn key_id(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// Ed25519 by ring, and nothing else.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(EdSigner(key_pair(key.as_bytes())?))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(EdVerifier(key.try_get_as_bytes()?.to_vec()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn key_pair(seed: &[u8]) -> Result<Ed25519KeyPair, Error> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| ErrorKind::InvalidEddsaKey.into())
}

struct EdSigner(Ed25519KeyPair);

impl Signer<Vec<u8>> for EdSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for EdSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct EdVerifier(Vec<u8>);

impl Verifier<Vec<u8>> for EdVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for EdVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
