//! Messages to those who are invited to an organisation, with an account or without.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_is_told_once_and_hears_nothing_that_others_wrote() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let grace = register(&process, &address(), "Grace script", "en").await.expect(201);
    let grace = process.client().with_token(grace.body["token"].as_str().unwrap());
    let created = grace.post("/api/organizations", json!({ "name": "script" })).await.expect(201);
    let members = format!("{}/members", created.header("location"));
    let email = address();
    for _ in 0..2 {
        grace.post(&members, json!({ "email": email, "role": "pro" })).await.expect(200);
    }
    let message = message_about(&smtp, &email, "You are invited to join an organisation").await;
    assert!(!message.contains("script") && message.contains("Hello,") && message.contains("/invitations"), "{message}");
    // One that was taken back before it was sent is not sent, and to one address few are.
    let (taken_back, flooded) = (address(), address());
    smtp.fail(&["4xx"]);
    grace.post(&members, json!({ "email": taken_back })).await.expect(200);
    waits_after(&url, "deferred").await;
    let revoke = async |email: &str| {
        let invitations = grace.get(&members.replace("members", "invitations")).await.expect(200);
        let items = invitations.body["items"].as_array().unwrap();
        let id = items.iter().find(|item| item["email"] == email).unwrap()["id"].clone();
        let request = grace.request(reqwest::Method::DELETE, &members.replace("members", "invitations"));
        grace.send(request.json(&json!({ "invitationId": id }))).await.expect(200);
    };
    revoke(&taken_back).await;
    hurry(&url).await;
    let due = "select not exists (select from mail_deliveries where status = 'due')";
    for _ in 0..7 {
        let head = grace.post(&members, json!({ "email": flooded })).await.expect(200).position();
        let taken = format!("select exists (select from mail_deliveries where position = {head})");
        eventually("it is looked at", async || ask::<bool>(&url, &taken).await && ask::<bool>(&url, due).await).await;
        revoke(&flooded).await;
    }
    assert_eq!(smtp.accepted_for(&email).len(), 1);
    assert_eq!(smtp.accepted_for(&taken_back).len(), 0);
    assert_eq!(smtp.accepted_for(&flooded).len(), 5);
}
