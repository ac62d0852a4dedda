//! The community: posts, the tree of comments, likes.

use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::*;

/// A new post, by its path; it can be read at once.
async fn post(author: &Client, text: &str) -> String {
    let created = author.post("/api/posts", json!({ "body": text })).await.expect(201);
    assert_eq!(created.header("location"), format!("/api/posts/{}", created.id()));
    let path = created.header("location").to_owned();
    author.get(&format!("{path}?minPosition={}", created.position())).await.expect(200);
    path
}

async fn read(client: &Client, path: &str) -> Answer {
    client.get(&format!("{path}?limit=100&minPosition={}", head().await)).await
}

async fn read_one(client: &Client, path: &str) -> Answer {
    client.get(&format!("{path}?minPosition={}", head().await)).await
}

#[tokio::test]
async fn a_post_is_read_by_all_and_changed_by_its_author() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = post(&ada, "Hello").await;
    let seen = read_one(&eve, &path).await.expect(200);
    assert_eq!((&seen.body["body"], &seen.body["authorId"]), (&json!("Hello"), &json!(ada.user_id)));
    assert_eq!((&seen.body["authorName"], &seen.body["version"]), (&json!("Ada Lovelace"), &json!(1)));
    assert_eq!(
        (&seen.body["likes"], &seen.body["comments"], &seen.body["liked"]),
        (&json!(0), &json!(0), &json!(false))
    );
    assert_eq!(seen.header("etag"), "\"1\"");
    assert!(is_utc(&seen.body["createdAt"]));
    let edited = ada.put(&path, json!({ "body": "Hello, all" })).await.expect(200);
    assert_eq!(ada.put(&path, json!({ "body": "Hello, all" })).await.expect(200).body, edited.body);
    for other in [&eve, &person("moderator").await, &admin().await] {
        other.put(&path, json!({ "body": "x" })).await.expect_problem(403, "access.forbidden");
        other.delete(&path).await.expect_problem(403, "access.forbidden");
    }
    assert_eq!(read_one(&eve, &path).await.body["body"], "Hello, all");
    ada.delete(&path).await.expect(200);
    read_one(&eve, &path).await.expect_problem(404, "post.not_found");
    for gone in [
        ada.put(&path, json!({ "body": "x" })).await,
        ada.delete(&path).await,
        eve.post(&format!("{path}/like"), json!({})).await,
        eve.post(&format!("{path}/comments"), json!({ "body": "x" })).await,
        eve.get(&format!("{path}/comments")).await,
    ] {
        gone.expect_problem(404, "post.not_found");
    }
}

#[tokio::test]
async fn what_a_post_says_has_limits() {
    let ada = applicant().await;
    for body in [
        json!({}),
        json!({ "body": "" }),
        json!({ "body": null }),
        json!({ "body": "b".repeat(10_001) }),
        json!({ "body": "a\0b" }),
        json!({ "body": 1 }),
    ] {
        let refused = ada.post("/api/posts", body).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/body")));
    }
    for name in ["authorId", "likes", "status", "featured", "locked", "createdAt"] {
        let refused = ada.post("/api/posts", json!({ "body": "x", name: 1 })).await;
        refused.expect_problem(422, "field.unknown");
    }
    let long = "é".repeat(10_000);
    for text in [long.as_str(), "<script>alert(1)</script>", "'; drop table posts; --", "👩‍👩‍👧‍👦\r\n\u{202e}"]
    {
        let path = post(&ada, text).await;
        assert_eq!(read_one(&ada, &path).await.body["body"], text);
    }
}

#[tokio::test]
async fn a_like_is_a_set() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = post(&ada, "Like me").await;
    let like = format!("{path}/like");
    let first = eve.post(&like, json!({})).await.expect(200);
    let again = eve.post(&like, json!({})).await.expect(200);
    assert_eq!(first.body, again.body);
    let seen = read_one(&eve, &path).await;
    assert_eq!((&seen.body["likes"], &seen.body["liked"]), (&json!(1), &json!(true)));
    assert_eq!(read_one(&ada, &path).await.body["liked"], false);
    // Many at once, and each over and over.
    let mut people = vec![eve.clone()];
    for _ in 0..5 {
        people.push(applicant().await);
    }
    let likes = people.iter().cycle().take(30).map(|person| person.post(&like, json!({})));
    assert!(join_all(likes).await.iter().all(|answer| answer.status == 200));
    assert_eq!(read_one(&ada, &path).await.body["likes"], 6);
    let unlikes = people[..3].iter().cycle().take(12).map(|person| person.delete(&like));
    assert!(join_all(unlikes).await.iter().all(|answer| answer.status == 200));
    assert_eq!(read_one(&ada, &path).await.body["likes"], 3);
    let stranger = applicant().await;
    stranger.delete(&like).await.expect(200);
    assert_eq!(read_one(&ada, &path).await.body["likes"], 3);
    let nothing = format!("/api/posts/{}/like", Uuid::now_v7());
    stranger.post(&nothing, json!({})).await.expect_problem(404, "post.not_found");
    stranger.delete(&nothing).await.expect_problem(404, "post.not_found");
}

#[tokio::test]
async fn comments_form_a_tree_of_eight_levels() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = post(&ada, "Discuss").await;
    let comments = format!("{path}/comments");
    let mut parent = Value::Null;
    for depth in 1..=8 {
        let body = if parent.is_null() {
            json!({ "body": "1" })
        } else {
            json!({ "body": format!("{depth}"), "parentId": parent })
        };
        parent = eve.post(&comments, body).await.expect(201).body["id"].clone();
    }
    let deeper = eve.post(&comments, json!({ "body": "9", "parentId": parent })).await;
    assert!(matches!(deeper.status, 409 | 422), "{deeper:?}");
    let list = read(&ada, &comments).await.expect(200);
    let texts: Vec<&str> = items(&list).iter().map(|comment| comment["body"].as_str().unwrap()).collect();
    assert_eq!(texts, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    for (index, comment) in items(&list).iter().enumerate() {
        assert_eq!((&comment["depth"], &comment["authorName"]), (&json!(index + 1), &json!("Ada Lovelace")));
    }
    assert_eq!(read_one(&ada, &path).await.body["comments"], 8);
    // The place of a deleted one stays, and those below it.
    let third = format!("/api/comments/{}", items(&list)[2]["id"].as_str().unwrap());
    ada.delete(&third).await.expect_problem(403, "access.forbidden");
    ada.put(&third, json!({ "body": "x" })).await.expect_problem(403, "access.forbidden");
    eve.put(&third, json!({ "body": "three" })).await.expect(200);
    assert_eq!(items(&read(&ada, &comments).await)[2]["body"], "three");
    eve.delete(&third).await.expect(200);
    eve.delete(&third).await.expect_problem(404, "comment.not_found");
    let list = read(&ada, &comments).await.expect(200);
    assert_eq!(items(&list).len(), 8);
    assert_eq!((&items(&list)[2]["body"], &items(&list)[2]["deleted"]), (&Value::Null, &json!(true)));
    // A parent is a comment on the same post.
    let elsewhere = format!("{}/comments", post(&ada, "Elsewhere").await);
    for bad in [parent.clone(), json!(Uuid::now_v7()), json!("x"), json!(1)] {
        let refused = eve.post(&elsewhere, json!({ "body": "x", "parentId": bad })).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/parentId")), "{bad}");
    }
    for body in [
        json!({}),
        json!({ "body": "" }),
        json!({ "body": "b".repeat(5_001) }),
        json!({ "body": "x", "depth": 1 }),
        json!({ "body": "x", "postId": "y" }),
    ] {
        assert_eq!(eve.post(&comments, body).await.status, 422);
    }
}

#[tokio::test]
async fn the_feed_and_the_comments_have_pages() {
    let ada = applicant().await;
    let mut paths = Vec::new();
    for number in 0..5 {
        paths.push(post(&ada, &format!("{number}")).await);
    }
    for number in 0..7 {
        ada.post(&format!("{}/comments", paths[0]), json!({ "body": format!("{number}") })).await.expect(201);
    }
    ada.get(&format!("/api/posts?minPosition={}", head().await)).await.expect(200);
    let mut texts = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ada.get(&format!("{}/comments?limit=3{cursor}", paths[0])).await.expect(200);
        texts.extend(items(&page).iter().map(|comment| comment["body"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        ada.get(&format!("{}/comments?cursor={next}", paths[1])).await.expect_problem(422, "cursor.invalid");
        applicant()
            .await
            .get(&format!("{}/comments?cursor={next}", paths[0]))
            .await
            .expect_problem(422, "cursor.invalid");
        cursor = format!("&cursor={next}");
    }
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6"]);
    for sort in ["newest", "mostLiked", "mostDiscussed"] {
        let mut mine = Vec::new();
        let mut cursor = String::new();
        for _ in 0..300 {
            let page = ada.get(&format!("/api/posts?sort={sort}&limit=4{cursor}")).await.expect(200);
            mine.extend(
                items(&page)
                    .iter()
                    .filter(|post| post["authorId"] == json!(ada.user_id))
                    .map(|post| post["id"].clone()),
            );
            let Some(next) = page.body["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let mut distinct = mine.clone();
        distinct.sort_by_key(Value::to_string);
        distinct.dedup();
        assert_eq!((mine.len(), distinct.len()), (5, 5), "{sort}");
    }
    let newest = ada.get("/api/posts?limit=100").await.expect(200);
    let times: Vec<&str> = items(&newest).iter().map(|post| post["createdAt"].as_str().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");
    let discussed = ada.get("/api/posts?sort=mostDiscussed&limit=100").await.expect(200);
    let counts: Vec<i64> = items(&discussed).iter().map(|post| post["comments"].as_i64().unwrap()).collect();
    assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]), "{counts:?}");
    for bad in ["sort=oldest", "sort=", "limit=0", "limit=101", "cursor=x", "author=x"] {
        assert_eq!(ada.get(&format!("/api/posts?{bad}")).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn a_key_is_answered_again_whatever_became_of_the_post() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = post(&ada, "Soon gone").await;
    let comment = json!({ "body": "once" });
    let keys: Vec<String> = (0..2).map(|_| Uuid::now_v7().to_string()).collect();
    let first = post_with(&eve, &format!("{path}/comments"), &[("idempotency-key", &keys[0])], comment.clone())
        .await
        .expect(201);
    let like = post_with(&eve, &format!("{path}/like"), &[("idempotency-key", &keys[1])], json!({})).await.expect(200);
    let again = post_with(&eve, &format!("{path}/comments"), &[("idempotency-key", &keys[0])], comment.clone())
        .await
        .expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    assert_eq!(read_one(&ada, &path).await.body["comments"], 1);
    ada.delete(&path).await.expect(200);
    let again =
        post_with(&eve, &format!("{path}/comments"), &[("idempotency-key", &keys[0])], comment).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    let again = post_with(&eve, &format!("{path}/like"), &[("idempotency-key", &keys[1])], json!({})).await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &like.body));
    let other = json!({ "body": "another" });
    let reused = post_with(&eve, &format!("{path}/comments"), &[("idempotency-key", &keys[0])], other).await;
    reused.expect_problem(422, "idempotency.key_reused");
}
