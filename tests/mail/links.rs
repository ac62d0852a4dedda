//! What comes back by the links in messages: proved addresses, new passwords.

use chrono::TimeDelta;
use event_store::MasterKey;

use super::*;
use crate::support::Node;
use crate::support::links::{proof, token};

const ANOTHER: &str = "quite another password";
const VERIFY: &str = "Confirm your address";
const RESET: &str = "Choose a new password";

async fn vault_of(url: &str) -> Node {
    Node::open(url, MasterKey::new(&[0x2a; 32])).await
}

async fn forgot(client: &Client, email: &str) -> Answer {
    client.post("/api/auth/forgot-password", json!({ "email": email })).await
}

async fn reset(client: &Client, token: &str, password: &str) -> Answer {
    client.post("/api/auth/reset-password", json!({ "token": token, "password": password })).await
}

fn token_in(message: &str) -> String {
    path_of(message).split_once("token=").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_is_proved_by_the_link_that_was_sent_to_it() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (ada, eve) = (address(), address());
    let registered = register(&process, &ada, "Ada", "en").await.expect(201);
    register(&process, &eve, "Ève", "fr").await.expect(201);
    assert_eq!(registered.body["user"]["emailVerified"], false);
    let french = &messages(&smtp, &eve, 1).await[0];
    assert!(french.contains("Confirmez votre adresse") && french.contains("text/html"));
    let english = messages(&smtp, &ada, 1).await[0].clone();
    assert!(english.contains("Subject: Confirm your address") && english.contains("From: Capitune <mail@capitune"));
    let client = process.client();
    let path = path_of(&english);
    // A flipped character, another's account, no token at all.
    let flipped = format!("{}{}", &path[..path.len() - 1], if path.ends_with('A') { 'B' } else { 'A' });
    for wrong in [flipped.as_str(), "/api/auth/verify-email?token=", "/api/auth/verify-email?token=nonsense"] {
        client.get(wrong).await.expect_problem(400, "link.invalid");
    }
    let verified = client.get(&path).await.expect(200);
    assert_eq!(verified.body["id"], registered.body["user"]["id"]);
    client.get(&path).await.expect(200);
    let page = crate::http::get_with(&client, &path, &[("accept", "text/html"), ("accept-language", "fr")]).await;
    assert!(page.expect(200).body.as_str().unwrap().contains("Votre adresse est confirmée"));
    let ada = client.with_token(registered.body["token"].as_str().unwrap());
    assert_eq!(ada.get("/api/users/me").await.expect(200).body["emailVerified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_once() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (ada, client) = (address(), process.client());
    let registered = register(&process, &ada, "Ada", "en").await.expect(201);
    messages(&smtp, &ada, 1).await;
    let (known, unknown) = (forgot(&client, &ada).await.expect(202), forgot(&client, &address()).await.expect(202));
    assert_eq!(known.body, unknown.body);
    // Whoever keeps asking floods nobody.
    for _ in 0..5 {
        forgot(&client, &ada).await.expect(202);
    }
    let token = token_in(&message_about(&smtp, &ada, RESET).await);
    let reset = async |token: &str, password: &str| reset(&client, token, password).await;
    reset(&token, "short").await.expect_problem(422, "account.invalid");
    reset(&token[1..], ANOTHER).await.expect_problem(400, "link.invalid");
    // A link that proves an address sets no password.
    let verify = token_in(&message_about(&smtp, &ada, VERIFY).await);
    reset(&verify, ANOTHER).await.expect_problem(400, "link.invalid");
    let (one, other) = tokio::join!(reset(&token, ANOTHER), reset(&token, "a third password"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 400]);
    reset(&token, "a fourth password").await.expect_problem(400, "link.invalid");
    let session = client.with_token(registered.body["token"].as_str().unwrap());
    session.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    log_in(&client, &ada, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    let password = if one.status == 204 { ANOTHER } else { "a third password" };
    let again = log_in(&client, &ada, password).await.expect(200);
    assert_eq!(again.body["user"]["emailVerified"], true);
    message_about(&smtp, &ada, "Your password was changed").await;
    assert_eq!(smtp.accepted_for(&ada).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_is_taken_and_the_one_before_is_told() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (before, after, taken) = (address(), address(), address());
    register(&process, &taken, "Eve", "en").await.expect(201);
    let ada = register(&process, &before, "Ada", "en").await.expect(201);
    let ada = process.client().with_token(ada.body["token"].as_str().unwrap());
    let old_link = path_of(&messages(&smtp, &before, 1).await[0]);
    let change = async |email: &str, password: &str| {
        ada.put("/api/users/me/email", json!({ "email": email, "password": password })).await
    };
    change(&after, "not it").await.expect_problem(403, "auth.wrong_password");
    change("nonsense", PASSWORD).await.expect_problem(422, "account.invalid");
    change(&taken, PASSWORD).await.expect_problem(409, "account.address_taken");
    change(&after, PASSWORD).await.expect(200);
    let letters = after.to_uppercase();
    change(&letters, PASSWORD).await.expect(200);
    change(&after, PASSWORD).await.expect(200);
    message_about(&smtp, &before, "Your address was changed").await;
    // The link to the address before proves nothing any more.
    process.client().get(&old_link).await.expect_problem(400, "link.invalid");
    let link = path_of(&message_about(&smtp, &after, VERIFY).await);
    process.client().get(&link).await.expect(200);
    log_in(&ada, &before, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    log_in(&ada, &after, PASSWORD).await.expect(200);
    // It is free for somebody else.
    register(&process, &before, "Grace", "en").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_addresses_must_be_verified_nothing_tells_which_are_taken() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[("CAPITUNE_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    let (ada, client) = (address(), process.client());
    let told = |answer: Answer| {
        let names: BTreeSet<String> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        (answer.status, names, answer.body)
    };
    let first = told(register(&process, &ada, "Ada", "en").await);
    assert_eq!((first.0, &first.2), (202, &Value::String(String::new())));
    let link = path_of(&messages(&smtp, &ada, 1).await[0]);
    log_in(&client, &ada, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    log_in(&client, &ada, "not it").await.expect_problem(401, "auth.invalid_credentials");
    assert_eq!(told(register(&process, &ada, "Somebody else", "fr").await), first);
    register(&process, &ada, "", "fr").await.expect(422);
    message_about(&smtp, &ada, "You have an account already").await;
    // Whoever causes such messages does not keep the owner from what they ask for.
    forgot(&client, &ada).await.expect(202);
    message_about(&smtp, &ada, RESET).await;
    client.get(&link).await.expect(200);
    log_in(&client, &ada, PASSWORD).await.expect(200);
    let ask = async |email: &str| client.post("/api/auth/verify-email", json!({ "email": email })).await;
    assert_eq!(told(ask(&ada).await), told(ask(&address()).await));
    // The first admin is named by who runs the instance.
    process.admin().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_for_a_while_and_for_the_address_it_was_sent_to() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (node, client) = (vault_of(&url).await, process.client());
    let (before, after, vault) = (address(), address(), node.store.vault());
    let registered = register(&process, &before, "Ada", "en").await.expect(201);
    let id: Uuid = registered.body["user"]["id"].as_str().unwrap().parse().unwrap();
    let ada = client.with_token(registered.body["token"].as_str().unwrap());
    let hour = TimeDelta::hours(1);
    let verify = async |email: &str, good_for| {
        let token = proof(vault, id, email, good_for);
        client.get(&format!("/api/auth/verify-email?token={token}")).await
    };
    verify(&before, -hour).await.expect_problem(400, "link.invalid");
    verify(&after, hour).await.expect_problem(400, "link.invalid");
    // What was sent to the address before proves nothing of the one after it.
    forgot(&client, &before).await.expect(202);
    let sent = token_in(&message_about(&smtp, &before, RESET).await);
    ada.put("/api/users/me/email", json!({ "email": after, "password": PASSWORD })).await.expect(200);
    reset(&client, &sent, ANOTHER).await.expect_problem(400, "link.invalid");
    verify(&before, hour).await.expect_problem(400, "link.invalid");
    assert_eq!(ada.get("/api/users/me").await.expect(200).body["emailVerified"], false);
    let password: String = ask(&url, &format!("select password_hash from credentials where account_id = '{id}'")).await;
    let made = |email: &str, password: &str, good_for| {
        let bound_to = [vault.keyed_hash("address", email.as_bytes()).as_slice(), password.as_bytes()].concat();
        token(vault, "mail.reset", id, good_for, &bound_to)
    };
    reset(&client, &made(&after, &password, -hour), ANOTHER).await.expect_problem(400, "link.invalid");
    reset(&client, &made(&after, "", hour), ANOTHER).await.expect_problem(400, "link.invalid");
    reset(&client, &made(&after, &password, hour), ANOTHER).await.expect(204);
    let again = log_in(&client, &after, ANOTHER).await.expect(200);
    assert_eq!(again.body["user"]["emailVerified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opened_an_account_with_an_address_of_somebody_else_loses_it_to_them() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (ada, client) = (address(), process.client());
    let eve = register(&process, &ada, "Eve", "en").await.expect(201);
    let eve = client.with_token(eve.body["token"].as_str().unwrap());
    let issue = async |client: &Client| {
        let body = json!({ "name": "a program", "scopes": ["dossiers:read"] });
        let issued = client.post("/api/auth/tokens", body).await.expect(201);
        client.with_token(issued.body["token"].as_str().unwrap())
    };
    let hers = issue(&eve).await;
    hers.get("/api/dossiers").await.expect(200);
    forgot(&client, &ada).await.expect(202);
    let sent = token_in(&message_about(&smtp, &ada, RESET).await);
    reset(&client, &sent, ANOTHER).await.expect(204);
    eve.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    eventually("the token has ended", async || hers.get("/api/dossiers").await.status == 401).await;
    // The owner, once known, keeps what programs were given.
    let owner = client.log_in(&ada, ANOTHER).await;
    let program = issue(&owner).await;
    let node = vault_of(&url).await;
    let vault = node.store.vault();
    let query = format!("select password_hash from credentials where account_id = '{}'", owner.user_id);
    let password: String = ask(&url, &query).await;
    let bound_to = [vault.keyed_hash("address", ada.as_bytes()).as_slice(), password.as_bytes()].concat();
    let made = token(vault, "mail.reset", owner.user_id, TimeDelta::hours(1), &bound_to);
    reset(&client, &made, PASSWORD).await.expect(204);
    program.get("/api/dossiers").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_holds_no_address() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let registered = register(&process, &address(), "Ada", "en").await.expect(201);
    let ada = process.client().with_token(registered.body["token"].as_str().unwrap());
    let id = registered.body["user"]["id"].as_str().unwrap();
    // As a change leaves it that another process commits just before.
    execute(&url, &format!("insert into claims values ('account.address', 'taken meanwhile', '{id}')")).await;
    ada.delete("/api/users/me").await.expect(200);
    assert_eq!(ask::<i64>(&url, &format!("select count(*) from claims where owner = '{id}'")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_addresses_must_be_verified_another_takes_its_place_once_it_is_proved() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[("CAPITUNE_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    let client = process.client();
    let verified = async || {
        let email = address();
        register(&process, &email, "Ada", "en").await.expect(202);
        client.get(&path_of(&message_about(&smtp, &email, VERIFY).await)).await.expect(200);
        email
    };
    let (own, taken, free) = (verified().await, verified().await, address());
    let ada = log_in(&client, &own, PASSWORD).await.expect(200);
    let ada = client.with_token(ada.body["token"].as_str().unwrap());
    let ask = async |email: &str| ada.put("/api/users/me/email", json!({ "email": email, "password": PASSWORD })).await;
    // Free or taken, nothing tells but the message, which goes to that address.
    let mut shown = Vec::new();
    for (email, subject) in [(&taken, "You have an account already"), (&free, VERIFY)] {
        let mut answer = ask(email).await.expect(200).body;
        let mut user = ada.get("/api/users/me").await.expect(200).body;
        assert_eq!((&user["email"], &user["requestedEmail"]), (&json!(own), &json!(email)));
        for (told, fields) in [(&mut answer, ["version", "position"]), (&mut user, ["version", "requestedEmail"])] {
            fields.into_iter().for_each(|field| drop(told[field].take()));
        }
        shown.push((answer, user));
        message_about(&smtp, email, subject).await;
    }
    assert_eq!(shown[0], shown[1]);
    let link = path_of(&message_about(&smtp, &free, VERIFY).await);
    client.get(&link).await.expect(200);
    let user = ada.get("/api/users/me").await.expect(200).body;
    assert_eq!((&user["email"], &user["requestedEmail"]), (&json!(free), &Value::Null));
    assert_eq!(user["emailVerified"], true);
    log_in(&client, &own, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    log_in(&client, &free, PASSWORD).await.expect(200);
    message_about(&smtp, &own, "Your address was changed").await;
    // One that somebody else has taken meanwhile is theirs, whatever was sent before.
    let contested = address();
    ask(&contested).await.expect(200);
    let link = path_of(&message_about(&smtp, &contested, VERIFY).await);
    register(&process, &contested, "Eve", "en").await.expect(202);
    eventually("it is registered", async || {
        let claims = "select count(*) from claims where kind = 'account.address'";
        self::ask::<i64>(&url, claims).await == 3 + 1
    })
    .await;
    client.get(&link).await.expect_problem(400, "link.invalid");
    assert_eq!(ada.get("/api/users/me").await.expect(200).body["email"], json!(free));
}
