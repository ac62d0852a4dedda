//! Lists: their pages, their cursors, what they are narrowed and sorted by.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// Every item of a list, page by page.
async fn whole(client: &Client, query: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    for _ in 0..200 {
        let page = client.get(&format!("{query}limit={limit}{cursor}")).await.expect(200);
        assert_eq!(names(&page.body), ["items", "nextCursor"]);
        assert!(items(&page).len() <= limit);
        all.extend(items(&page).iter().cloned());
        match page.body["nextCursor"].as_str() {
            None => {
                assert!(page.body["nextCursor"].is_null());
                return all;
            }
            Some(next) => {
                assert_eq!(items(&page).len(), limit, "only the last page may be short");
                cursor = format!("&cursor={next}");
            }
        }
    }
    panic!("{query} has no end");
}

fn titles(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["title"].as_str().unwrap()).collect()
}

async fn with_dossiers(count: usize) -> Client {
    let ada = applicant().await;
    for number in 0..count {
        ada.create_dossier(&format!("number {number:03}")).await;
    }
    ada.get(&format!("/api/dossiers?minPosition={}", head().await)).await.expect(200);
    ada
}

#[tokio::test]
async fn a_limit_is_from_1_to_100_and_20_when_not_given() {
    let ada = with_dossiers(23).await;
    assert_eq!(items(&ada.get("/api/dossiers").await.expect(200)).len(), 20);
    assert_eq!(items(&ada.get("/api/dossiers?limit=1").await.expect(200)).len(), 1);
    assert_eq!(items(&ada.get("/api/dossiers?limit=100").await.expect(200)).len(), 23);
    let auditor = person("auditor").await;
    let path = new_dossier(&ada).await;
    let lists = [
        (&ada, "/api/dossiers".to_owned()),
        (&ada, format!("{path}/history")),
        (&auditor, "/api/audit/events".to_owned()),
        (&admin().await, "/api/admin/users".to_owned()),
    ];
    for (client, list) in lists {
        for limit in ["0", "-1", "101", "abc", "", "1.5", "%2B5", "1e1", "99999999999999999999", "0x10", "%00", "5%20"]
        {
            let refused = client.get(&format!("{list}?limit={limit}")).await;
            assert_eq!(refused.status, 422, "{list} {limit}: {refused:?}");
            assert_eq!(refused.body["errors"][0]["pointer"], "/limit");
        }
        client.get(&format!("{list}?limit=5&limit=6")).await.expect_problem(422, "parameter.invalid");
        client.get(&format!("{list}?offset=1000000000")).await.expect_problem(422, "parameter.unknown");
    }
}

#[tokio::test]
async fn pages_lead_to_the_end_without_gap_or_repeat() {
    let ada = with_dossiers(23).await;
    for sort in [
        "",
        "sort=createdAt&",
        "sort=-createdAt&",
        "sort=updatedAt&",
        "sort=-updatedAt&",
        "sort=title&",
        "sort=-title&",
    ] {
        for limit in [1, 7, 23, 100] {
            let all = whole(&ada, &format!("/api/dossiers?{sort}"), limit).await;
            let mut expected: Vec<String> = (0..23).map(|number| format!("number {number:03}")).collect();
            if sort.is_empty() || sort.contains('-') {
                expected.reverse();
            }
            assert_eq!(titles(&all), expected, "{sort} by {limit}");
        }
    }
    ada.get("/api/dossiers?sort=ownerId").await.expect_problem(422, "parameter.invalid");
    ada.get("/api/dossiers?sort=title%3Bdrop").await.expect_problem(422, "parameter.invalid");
}

#[tokio::test]
async fn pages_are_stable_while_others_are_inserted() {
    let ada = with_dossiers(12).await;
    for sort in ["-createdAt", "createdAt", "title"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = ada.get(&format!("/api/dossiers?sort={sort}&limit=3{cursor}")).await.expect(200);
            seen.extend(items(&page).iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page.body["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            if seen.len() < 12 {
                ada.create_dossier("in between").await;
                ada.get(&format!("/api/dossiers?minPosition={}", head().await)).await.expect(200);
            }
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{sort}: something came twice");
        let all = whole(&ada, "/api/dossiers?category=housing&", 100).await;
        for item in all.iter().filter(|item| item["title"] != "in between") {
            assert!(distinct.contains(&item["id"].as_str().unwrap().to_owned()), "{sort}: {item} was left out");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_list_and_caller_only() {
    let (ada, eve) = (with_dossiers(4).await, with_dossiers(4).await);
    let cursor = |answer: Answer| answer.expect(200).body["nextCursor"].as_str().unwrap().to_owned();
    let hers = cursor(ada.get("/api/dossiers?limit=2").await);
    ada.get(&format!("/api/dossiers?limit=2&cursor={hers}")).await.expect(200);
    let last = hers.chars().last().map(|last| if last == 'A' { 'B' } else { 'A' }).unwrap();
    let tampered = format!("{}{last}", &hers[..hers.len() - 1]);
    let first = if hers.starts_with('A') { 'B' } else { 'A' };
    let bad = [
        tampered,
        format!("{first}{}", &hers[1..]),
        hers[..hers.len() / 2].to_owned(),
        format!("{hers}A"),
        String::new(),
        "x".to_owned(),
        "%00".to_owned(),
        "eyJpZCI6MX0".to_owned(),
        "A".repeat(5_000),
        "'%20or%201=1".to_owned(),
    ];
    for cursor in bad {
        let refused = ada.get(&format!("/api/dossiers?cursor={cursor}")).await;
        assert_eq!(refused.status, 422, "{cursor}: {refused:?}");
        assert_eq!(refused.body["errors"][0]["pointer"], "/cursor");
    }
    eve.get(&format!("/api/dossiers?cursor={hers}")).await.expect_problem(422, "cursor.invalid");
    for other in ["status=draft", "sort=title", "category=housing", "q=number"] {
        let refused = ada.get(&format!("/api/dossiers?{other}&cursor={hers}")).await;
        refused.expect_problem(422, "cursor.invalid");
    }
    let path = new_dossier(&ada).await;
    ada.put(&path, json!({ "title": "x" })).await.expect(200);
    let of_history = cursor(ada.get(&format!("{path}/history?limit=1")).await);
    ada.get(&format!("/api/dossiers?cursor={of_history}")).await.expect_problem(422, "cursor.invalid");
    let elsewhere = new_dossier(&ada).await;
    ada.get(&format!("{elsewhere}/history?cursor={of_history}")).await.expect_problem(422, "cursor.invalid");
}

#[tokio::test]
async fn a_list_is_narrowed_by_what_it_is_asked() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    dossier_in("submitted", &ada, &pro).await;
    ada.post("/api/dossiers", json!({ "title": "Une école à Besançon", "category": "school" })).await.expect(201);
    ada.post("/api/dossiers", json!({ "title": "100% œuvre_d'art \\ ", "category": "art" })).await.expect(201);
    ada.get(&format!("/api/dossiers?minPosition={}", head().await)).await.expect(200);
    let counts = [
        ("", 4),
        ("status=in_review", 1),
        ("status=draft", 2),
        ("status=accepted", 0),
        ("category=school", 1),
        ("category=School", 0),
        ("category=scho", 0),
        ("status=draft&category=art", 1),
        ("q=ecole", 1),
        ("q=%C3%89COLE", 1),
        ("q=BESANCON", 1),
        ("q=e%CC%81cole", 1),
        ("q=besanc%CC%A7on", 1),
        ("q=request", 2),
        ("q=%25", 1),
        ("q=_", 1),
        ("q=_d", 1),
        ("q=%5C", 1),
        ("q=%27", 1),
        ("q=100%25", 1),
        ("q=1%25", 0),
        ("q=", 4),
        ("q=nothing%20like%20it", 0),
        ("q=(a%2B)%2B%24", 0),
        ("q=%27%20or%20%271%27%3D%271", 0),
    ];
    for (query, count) in counts {
        let list = ada.get(&format!("/api/dossiers?{query}")).await.expect(200);
        assert_eq!(items(&list).len(), count, "{query}: {:?}", titles(items(&list)));
    }
    let list = ada.get(&format!("/api/dossiers?assignedTo={}", pro.user_id)).await.expect(200);
    assert_eq!(items(&list).len(), 1);
    assert!(path.ends_with(items(&list)[0]["id"].as_str().unwrap()));
    for bad in ["status=nothing", "status=", "status=Draft", "assignedTo=me", "owner=x", "status=draft&status=draft"] {
        let refused = ada.get(&format!("/api/dossiers?{bad}")).await;
        assert_eq!(refused.status, 422, "{bad}: {refused:?}");
    }
    // As long as an address may be: nothing is found, and nothing is slow.
    let started = std::time::Instant::now();
    let long = "a%25".repeat(1_500);
    let list = get_with(&ada, &format!("/api/dossiers?q={long}"), &[]).await.expect(200);
    assert!(items(&list).is_empty());
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn titles_are_sorted_as_people_sort_them() {
    let ada = applicant().await;
    for title in ["zèbre", "Éclair", "eclair 2", "abricot", "Zebu"] {
        ada.create_dossier(title).await;
    }
    let list = ada.get(&format!("/api/dossiers?sort=title&minPosition={}", head().await)).await.expect(200);
    assert_eq!(titles(items(&list)), ["abricot", "Éclair", "eclair 2", "zèbre", "Zebu"]);
}

#[tokio::test]
async fn a_list_shows_what_its_reader_may_see_and_no_more() {
    let (ada, pro, other) = (applicant().await, person("pro").await, person("pro").await);
    let category = format!("c{}", &ada.user_id.simple().to_string()[8..]);
    let mut paths = Vec::new();
    for state in ["draft", "submitted", "in_review"] {
        let path = dossier_in("draft", &ada, &pro).await;
        ada.put(&path, json!({ "category": category, "title": state })).await.expect(200);
        if state != "draft" {
            obey(&ada, &path, "submit").await.expect(200);
        }
        if state == "in_review" {
            obey(&pro, &path, "start-review").await.expect(200);
        }
        paths.push(path);
    }
    let position = head().await;
    let readers = [
        (ada.clone(), vec!["in_review", "submitted", "draft"]),
        (pro, vec!["in_review", "submitted"]),
        (other, vec!["submitted"]),
        (applicant().await, vec![]),
        (person("auditor").await, vec!["in_review", "submitted", "draft"]),
        (person("analyst").await, vec![]),
        (person("moderator").await, vec![]),
        (person("organizer").await, vec![]),
        (admin().await, vec!["in_review", "submitted", "draft"]),
    ];
    for (reader, expected) in readers {
        let list = reader.get(&format!("/api/dossiers?category={category}&minPosition={position}")).await.expect(200);
        assert_eq!(titles(items(&list)), expected);
        // A list shows of each what the reader sees of the one.
        for item in items(&list) {
            let one = reader.get(&format!("/api/dossiers/{}", item["id"].as_str().unwrap())).await.expect(200);
            assert_eq!(&one.body, item);
        }
    }
    // An admin sees what a dossier is about, and nothing that people wrote in it.
    let seen = admin().await.get(&paths[0]).await.expect(200).body;
    assert_eq!((&seen["description"], &seen["fields"]), (&Value::Null, &Value::Null));
    assert_eq!(seen["title"], "draft");
}
