//! Access tokens: only ours, only good ones, only as they were issued.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::json;

use super::*;
use crate::support::Node;

/// Somebody who can forge: with a key of their own, or with ours.
struct Forge {
    ours: Ed25519KeyPair,
    theirs: Ed25519KeyPair,
    header: Value,
    claims: Value,
    ada: Client,
}

impl Forge {
    async fn open() -> Self {
        let ada = applicant().await;
        let node = Node::start(&system().await.database_url).await;
        let key: uuid::Uuid = node.ask("select id from signing_keys").await;
        let seed = node.store.vault().keyed_hash("signing key", key.as_bytes());
        let part = |index: usize| {
            let text = ada.token().split('.').nth(index).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        Self {
            ours: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap(),
            theirs: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
            header: part(0),
            claims: part(1),
            ada,
        }
    }

    /// A token with these parts as text, signed with our own key.
    fn sign(&self, header: &str, claims: &str) -> String {
        let content = content(header, claims);
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(self.ours.sign(content.as_bytes())))
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.sign(&self.header.to_string(), &claims.to_string())
    }

    fn without_claim(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.sign(&self.header.to_string(), &claims.to_string())
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.sign(&header.to_string(), &self.claims.to_string())
    }

    async fn refuses(&self, token: &str, why: &str) {
        let request = self.ada.with_token(token).request(Method::GET, "/api/users/me").timeout(SOON);
        let answer = self.ada.send(request).await;
        assert!(matches!(answer.status, 401 | 431), "{why}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{why}");
        if answer.status == 401 {
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{why}");
        }
    }
}

fn content(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn a_token_says_no_more_than_who() {
    let forge = Forge::open().await;
    assert_eq!(forge.header["alg"], "EdDSA");
    for name in ["exp", "iat", "nbf", "iss", "aud", "sub", "jti", "sid"] {
        assert!(!forge.claims[name].is_null(), "{name}");
    }
    assert!(forge.claims.get("roles").is_none() && forge.claims.get("email").is_none());
    // What the forge can do, if it has our key.
    let again = forge.sign(&forge.header.to_string(), &forge.claims.to_string());
    forge.ada.with_token(&again).get("/api/users/me").await.expect(200);
}

#[tokio::test]
async fn no_algorithm_but_ours_is_believed() {
    let forge = Forge::open().await;
    let claims = forge.claims.to_string();
    for algorithm in ["none", "None", "nOnE", "NONE", "", "HS256", "RS256", "ES256", "PS512", "EdDSA"] {
        let header = json!({ "alg": algorithm, "typ": "at+jwt" }).to_string();
        let unsigned = content(&header, &claims);
        forge.refuses(&format!("{unsigned}."), algorithm).await;
        forge.refuses(&unsigned, algorithm).await;
        if algorithm != "EdDSA" {
            forge.refuses(&forge.sign(&header, &claims), algorithm).await;
        }
    }
    // The public key as an HMAC secret, in every dress it may wear.
    let public = forge.ours.public_key().as_ref().to_vec();
    let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &public].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
    let dresses = [
        public.clone(),
        spki,
        pem.into_bytes(),
        STANDARD.encode(&public).into_bytes(),
        URL_SAFE_NO_PAD.encode(&public).into_bytes(),
    ];
    for secret in dresses {
        for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
            let content = content(&json!({ "alg": name, "typ": "at+jwt" }).to_string(), &claims);
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), content.as_bytes());
            forge.refuses(&format!("{content}.{}", URL_SAFE_NO_PAD.encode(tag)), name).await;
        }
    }
}

#[tokio::test]
async fn a_token_brings_no_key_of_its_own() {
    let forge = Forge::open().await;
    let own_key = URL_SAFE_NO_PAD.encode(forge.theirs.public_key());
    let claims = forge.claims.to_string();
    for (name, value) in [
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": own_key })),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!([own_key])),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' or '1'='1")),
        ("crit", json!(["exp"])),
        ("typ", json!("at+jwt")),
    ] {
        let mut header = forge.header.clone();
        header[name] = value.clone();
        let content = content(&header.to_string(), &claims);
        let signature = URL_SAFE_NO_PAD.encode(forge.theirs.sign(content.as_bytes()));
        forge.refuses(&format!("{content}.{signature}"), &format!("{name} {value}")).await;
    }
    for (name, value) in
        [("typ", json!("JWT")), ("typ", json!("rt+jwt")), ("typ", Value::Null), ("crit", json!(["b64"]))]
    {
        forge.refuses(&forge.with_header(name, value.clone()), &format!("{name} {value}")).await;
    }
}

#[tokio::test]
async fn every_claim_is_required_and_checked() {
    let forge = Forge::open().await;
    for name in ["exp", "iat", "nbf", "iss", "aud", "sub", "jti", "sid"] {
        forge.refuses(&forge.without_claim(name), &format!("no {name}")).await;
        forge.refuses(&forge.with_claim(name, Value::Null), &format!("{name} null")).await;
    }
    let now = chrono::Utc::now().timestamp();
    for (name, value) in [
        ("exp", json!(now - 60)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!("9999999999")),
        ("exp", json!(9_999_999_999.5)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(now + 86_400 * 365)),
        ("nbf", json!(now + 3_000)),
        ("nbf", json!("0")),
        ("iat", json!(now + 3_000)),
        ("iat", json!(u64::MAX)),
        ("iss", json!("urn:capitune:00000000-0000-0000-0000-000000000000")),
        ("iss", json!("")),
        ("iss", json!(["x"])),
        ("aud", json!("another")),
        ("aud", json!(["another"])),
        ("aud", json!([])),
        ("sub", json!("")),
        ("sub", json!("ädmin")),
        ("sub", json!(uuid::Uuid::now_v7())),
        ("sub", json!(1)),
        ("sid", json!(uuid::Uuid::now_v7())),
        ("sid", json!("'; drop table sessions; --")),
        ("jti", json!(1)),
    ] {
        forge.refuses(&forge.with_claim(name, value.clone()), &format!("{name} {value}")).await;
    }
    let twice = forge.claims.to_string().replacen('{', &format!("{{\"sub\":\"{}\",", uuid::Uuid::now_v7()), 1);
    forge.refuses(&forge.sign(&forge.header.to_string(), &twice), "two subjects").await;
    // Another's session is not a session of one's own.
    let eve = applicant().await;
    forge.refuses(&forge.with_claim("sub", json!(eve.user_id)), "a foreign session").await;
}

#[tokio::test]
async fn a_token_counts_whole_or_not_at_all() {
    let forge = Forge::open().await;
    let token = forge.ada.token().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    for length in
        [0, 1, parts[0].len(), parts[0].len() + 1, token.len() / 2, token.len() - 20, token.len() - 2, token.len() - 1]
    {
        forge.refuses(&token[..length], &format!("cut to {length}")).await;
    }
    for extended in
        [format!("{token}A"), format!("{token}="), format!("{token}."), format!("{token}.AAAA"), format!(".{token}")]
    {
        forge.refuses(&extended, &extended).await;
    }
    let flipped: String = token
        .chars()
        .enumerate()
        .map(|(at, c)| if at == parts[0].len() + 5 { if c == 'A' { 'B' } else { 'A' } } else { c })
        .collect();
    forge.refuses(&flipped, "a flipped character").await;
    forge
        .refuses(&format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 64])), "a signature of zeros")
        .await;
    forge.refuses(&format!("{}..{}", parts[0], parts[2]), "no claims").await;
    for size in [3_000, 12_000, 64_000] {
        let mut claims = forge.claims.clone();
        claims["sub"] = json!("x".repeat(size));
        forge.refuses(&forge.sign(&forge.header.to_string(), &claims.to_string()), &format!("{size} bytes")).await;
    }
}

#[tokio::test]
async fn a_token_comes_in_one_place_only() {
    let nobody = nobody().await;
    let ada = applicant().await;
    let token = ada.token();
    for query in ["access_token", "token", "authorization", "bearer"] {
        nobody.get(&format!("/api/users/me?{query}={token}")).await.expect_problem(401, "auth.required");
    }
    for (name, value) in [
        ("authorization", token.to_owned()),
        ("authorization", format!("Basic {token}")),
        ("authorization", format!("Token {token}")),
        ("authorization", "Bearer".to_owned()),
        ("authorization", "Bearer ".to_owned()),
        ("authorization", String::new()),
        ("authorization", format!("Bearer {token} {token}")),
        ("authorization", format!("Bearer, {token}")),
        ("cookie", format!("token={token}; access_token={token}")),
        ("x-access-token", token.to_owned()),
        ("proxy-authorization", format!("Bearer {token}")),
    ] {
        let answer = get_with(&nobody, "/api/users/me", &[(name, &value)]).await;
        assert_eq!(answer.status, 401, "{name}: {value}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    let twice = get_with(&ada, "/api/users/me", &[("authorization", "Bearer x")]).await;
    assert_eq!(twice.status, 401);
    // A refresh token opens no other door.
    let body = json!({ "email": format!("{}@capitune.test", uuid::Uuid::now_v7()), "password": "a password for tests", "name": "x" });
    let account = nobody.post("/api/auth/register", body).await.expect(201);
    let refresh = account.body["refreshToken"].as_str().unwrap();
    nobody.with_token(refresh).get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
}

#[tokio::test]
async fn anybody_can_verify_a_token_by_the_public_key() {
    let ada = applicant().await;
    let answer = nobody().await.get("/api/auth/jwks.json").await.expect(200);
    let keys = answer.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(names(&keys[0]), ["alg", "crv", "kid", "kty", "use", "x"]);
    let (content, signature) = ada.token().rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let header: Value = serde_json::from_slice(&decode(content.split('.').next().unwrap())).unwrap();
    assert_eq!((&header["kid"], &header["alg"]), (&keys[0]["kid"], &keys[0]["alg"]));
    let key = UnparsedPublicKey::new(&ED25519, decode(keys[0]["x"].as_str().unwrap()));
    key.verify(content.as_bytes(), &decode(signature)).unwrap();
}

/// The names of the public keys.
async fn published(process: &Process) -> Vec<String> {
    let keys = process.client().get("/api/auth/jwks.json").await.expect(200).body["keys"].clone();
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn signed_with(client: &Client) -> String {
    let header = URL_SAFE_NO_PAD.decode(client.token().split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn rotate(url: &str, arguments: &[&str]) {
    let arguments = [&["rotate-signing-key"], arguments].concat();
    let mut process = Process::start(url, &crate::support::servers().await.nats_url, &arguments).await;
    assert_eq!(process.end().await, Some(0), "{}", process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_take_turns_and_nobody_notices() {
    let url = database_url().await;
    let process = Process::api(&url, &[]).await;
    let before = process.client().register("Ada").await;
    let first = published(&process).await;
    rotate(&url, &[]).await;
    crate::support::eventually("the next key is published", async || published(&process).await.len() == 2).await;
    let ahead = process.client().register("Ada").await;
    assert_eq!(signed_with(&ahead), first[0], "a key does not sign before everybody can know it");
    execute(&url, "update signing_keys set active_from = active_from - interval '11 minutes'").await;
    crate::support::eventually("the next key signs", async || {
        signed_with(&process.client().register("Ada").await) != first[0]
    })
    .await;
    before.get("/api/users/me").await.expect(200);
    execute(&url, "update signing_keys set active_from = active_from - interval '2 hours'").await;
    crate::support::eventually("the first key is gone", async || !published(&process).await.contains(&first[0])).await;
    before.get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_stolen_is_worth_nothing_on_any_node() {
    let url = database_url().await;
    let (one, other) = (Process::api(&url, &[]).await, Process::api(&url, &[]).await);
    let body = json!({ "email": "ada@capitune.test", "password": PASSWORD, "name": "Ada" });
    let registered = one.client().post("/api/auth/register", body).await.expect(201);
    let ada = one.client().with_token(registered.body["token"].as_str().unwrap());
    let there = ada.at(&other.url());
    there.get("/api/users/me").await.expect(200);
    rotate(&url, &["--stolen"]).await;
    for client in [&ada, &there] {
        crate::support::eventually("it is refused", async || client.get("/api/users/me").await.status == 401).await;
    }
    let refresh = json!({ "refreshToken": registered.body["refreshToken"] });
    let again = one.client().post("/api/auth/refresh", refresh).await.expect(200);
    // The other node has the new key as soon as it sees it.
    let again = other.client().with_token(again.body["token"].as_str().unwrap());
    again.get("/api/users/me").await.expect(200);
}

#[tokio::test]
async fn a_key_of_another_name_is_not_ours() {
    let forge = Forge::open().await;
    forge.refuses(&forge.with_header("kid", json!("another")), "another key's name").await;
}
