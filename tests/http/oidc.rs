//! Logging in at another provider: one that is certified, with everything that can be mixed up on the way.

use super::*;
use crate::support::oidc::OidcServer;

struct World {
    provider: OidcServer,
    process: Process,
}

/// A flow as a browser has it: where it is sent, and the cookie that it keeps.
struct Flow {
    url: String,
    cookie: String,
}

async fn world() -> World {
    world_with(OidcServer::start().await).await
}

async fn world_with(provider: OidcServer) -> World {
    let mut command = Process::command(&["api"]);
    command.env("DATABASE_URL", database_url().await).env("NATS_URL", &servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    command.env("CAPITUNE_OIDC_PROVIDERS", provider.setting());
    let process = Process::spawn(command).await;
    process.ready().await;
    World { provider, process }
}

impl World {
    async fn start(&self) -> Flow {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let url = format!("{}/api/auth/oidc/test/start", self.process.url());
        let response = http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 303);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let cookie = header("set-cookie");
        assert!(cookie.contains("; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
        Flow { url: header("location"), cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    async fn back(&self, path: &str, cookie: &str) -> Answer {
        get_with(&self.process.client(), path, &[("cookie", cookie)]).await
    }

    async fn log_in(&self, who: &str) -> Answer {
        let flow = self.start().await;
        let back = self.provider.visit(&flow.url, who).await;
        self.back(&back, &flow.cookie).await
    }

    fn signed_in(&self, answer: &Answer) -> Client {
        let mut client = self.process.client().with_token(answer.body["token"].as_str().unwrap());
        client.user_id = answer.body["user"]["id"].as_str().unwrap().parse().unwrap();
        client
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_new_gets_an_account_and_the_same_one_ever_after() {
    let world = world().await;
    let first = world.log_in("ada").await.expect(200);
    assert_eq!(first.body["user"]["email"], "ada@provider.test");
    assert_eq!(
        (&first.body["user"]["name"], &first.body["user"]["emailVerified"]),
        (&json!("Name of ada"), &json!(true))
    );
    let again = world.log_in("ada").await.expect(200);
    assert_eq!(first.body["user"]["id"], again.body["user"]["id"]);
    let eve = world.log_in("eve").await.expect(200);
    assert_ne!(first.body["user"]["id"], eve.body["user"]["id"]);
    let ada = world.signed_in(&again);
    let identities = ada.get("/api/auth/identities").await.expect(200);
    assert_eq!((items(&identities).len(), &items(&identities)[0]["provider"]), (1, &json!("test")));
    // It is the only way in.
    let path = format!("/api/auth/identities/{}", items(&identities)[0]["id"].as_str().unwrap());
    ada.delete(&path).await.expect_problem(409, "identity.last");
    world.signed_in(&eve).delete(&path).await.expect_problem(404, "identity.not_found");
    let accesses = ada.get("/api/users/me/accesses").await.expect(200);
    assert_eq!(items(&accesses)[0]["detail"]["provider"], "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_no_proof_of_an_account() {
    let world = world().await;
    let body = json!({ "email": "ada@provider.test", "password": PASSWORD, "name": "Ada" });
    let registered = world.process.client().post("/api/auth/register", body).await.expect(201);
    world.log_in("ada").await.expect_problem(409, "account.address_taken");
    world.log_in("unverified").await.expect_problem(409, "identity.unverified");
    // Who has the account links it, and is then let in by either.
    let ada = world.signed_in(&registered);
    let linking = ada.post("/api/auth/oidc/test/link", json!({})).await.expect(200);
    let cookie = linking.header("set-cookie").split(';').next().unwrap().to_owned();
    let back = world.provider.visit(linking.body["url"].as_str().unwrap(), "ada").await;
    world.back(&back, &cookie).await.expect(200);
    let by_provider = world.log_in("ada").await.expect(200);
    assert_eq!(by_provider.body["user"]["id"], registered.body["user"]["id"]);
    // Neither a second person at the provider, nor a second account for the same person.
    let linking = ada.post("/api/auth/oidc/test/link", json!({})).await.expect(200);
    let cookie = linking.header("set-cookie").split(';').next().unwrap().to_owned();
    let back = world.provider.visit(linking.body["url"].as_str().unwrap(), "somebody-else").await;
    world.back(&back, &cookie).await.expect_problem(409, "identity.taken");
    let eve = world.process.client().register("Eve").await;
    let linking = eve.post("/api/auth/oidc/test/link", json!({})).await.expect(200);
    let cookie = linking.header("set-cookie").split(';').next().unwrap().to_owned();
    let back = world.provider.visit(linking.body["url"].as_str().unwrap(), "ada").await;
    world.back(&back, &cookie).await.expect_problem(409, "identity.taken");
    // With a password the provider can be given up.
    let identities = ada.get("/api/auth/identities").await.expect(200);
    let path = format!("/api/auth/identities/{}", items(&identities)[0]["id"].as_str().unwrap());
    ada.delete(&path).await.expect(204);
    world.log_in("ada").await.expect_problem(409, "account.address_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mixed_up_on_the_way_ends_nowhere() {
    let world = world().await;
    let refused = async |path: &str, cookie: &str| {
        world.back(path, cookie).await.expect_problem(400, "oidc.failed");
    };
    let flow = world.start().await;
    let other = world.start().await;
    let back = world.provider.visit(&flow.url, "ada").await;
    // Somebody else's link, in a browser that did not begin it, or began another.
    refused(&back, "").await;
    refused(&back, &other.cookie).await;
    let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let state = flow.cookie.split_once('=').unwrap().1;
    let path = "/api/auth/oidc/test/callback";
    refused(path, &flow.cookie).await;
    refused(&format!("{path}?code={code}"), &flow.cookie).await;
    refused(&format!("{path}?state={state}"), &flow.cookie).await;
    refused(&format!("{path}?code={code}&state={state}x"), &flow.cookie).await;
    // A code of another flow fits neither its verifier nor its nonce.
    let foreign = world.provider.visit(&other.url, "eve").await;
    let foreign = foreign.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let fresh = world.start().await;
    let fresh_state = fresh.cookie.split_once('=').unwrap().1;
    refused(&format!("{path}?code={foreign}&state={fresh_state}"), &fresh.cookie).await;
    // Another issuer's answer.
    let last = world.start().await;
    let last_state = last.cookie.split_once('=').unwrap().1;
    let mixed = format!("{path}?code={code}&state={last_state}&iss=https%3A%2F%2Fevil.example");
    refused(&mixed, &last.cookie).await;
    // Each flow is good once.
    world.back(&back, &flow.cookie).await.expect(200);
    refused(&back, &flow.cookie).await;
    let denied = world.start().await;
    let back = world.provider.visit(&denied.url, "nobody").await;
    refused(&back, &denied.cookie).await;
    let unknown = get_with(&world.process.client(), "/api/auth/oidc/unknown/start", &[]).await;
    unknown.expect_problem(404, "provider.not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_takes_a_fresh_log_in_and_a_suspended_account_stays_out() {
    let world = world().await;
    let ada = world.signed_in(&world.log_in("ada").await.expect(200));
    let admin = world.process.admin().await;
    let suspend = json!({ "status": "suspended", "reason": "Testing" });
    admin.put(&format!("/api/admin/users/{}/status", ada.user_id), suspend).await.expect(200);
    world.log_in("ada").await.expect_problem(403, "account.suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_in_by_github_with_the_address_that_it_has_verified() {
    let world = world_with(OidcServer::github().await).await;
    let first = world.log_in("octocat").await.expect(200);
    let user = &first.body["user"];
    assert_eq!((&user["email"], &user["name"]), (&json!("octocat@provider.test"), &json!("octocat")));
    assert_eq!(user["emailVerified"], true);
    let again = world.log_in("octocat").await.expect(200);
    assert_eq!(first.body["user"]["id"], again.body["user"]["id"]);
    assert_ne!(world.log_in("another").await.expect(200).body["user"]["id"], first.body["user"]["id"]);
    world.log_in("unverified").await.expect_problem(409, "identity.unverified");
    let body = json!({ "email": "taken@provider.test", "password": PASSWORD, "name": "Ada" });
    world.process.client().post("/api/auth/register", body).await.expect(201);
    world.log_in("taken").await.expect_problem(409, "account.address_taken");
    // Neither a code nor a state of another flow, and each once.
    let (flow, other) = (world.start().await, world.start().await);
    let back = world.provider.visit(&flow.url, "octocat").await;
    world.back(&back, &other.cookie).await.expect_problem(400, "oidc.failed");
    let foreign = world.provider.visit(&other.url, "another").await;
    let code = |path: &str| path.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let mixed = back.replace(&code(&back), &code(&foreign));
    world.back(&mixed, &flow.cookie).await.expect_problem(400, "oidc.failed");
    world.back(&back, &flow.cookie).await.expect_problem(400, "oidc.failed");
    let denied = world.start().await;
    let back = world.provider.visit(&denied.url, "nobody").await;
    world.back(&back, &denied.cookie).await.expect_problem(400, "oidc.failed");
}
