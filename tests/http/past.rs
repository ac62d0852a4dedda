//! Lists as they were: whatever an auditor asks for of the past is what was to be seen then.

use super::*;

/// A system of its own, whose lists nobody else adds to.
async fn people() -> (Process, Client, Client, Client) {
    let process = Process::api(&database_url().await, &[]).await;
    let admin = process.admin().await;
    let auditor = admin.register_with_roles("Grace", &["auditor"]).await;
    let pro = admin.register_with_roles("Pro", &["pro"]).await;
    let ada = process.client().register("Ada").await;
    (process, auditor, pro, ada)
}

#[tokio::test]
async fn every_past_list_is_what_the_list_was_then() {
    let (_process, auditor, pro, ada) = people().await;
    let mut seen = Vec::new();
    let see = async |position: u64, seen: &mut Vec<(u64, Vec<Value>)>| {
        let list = auditor.get(&format!("/api/dossiers?limit=100&minPosition={position}")).await.expect(200);
        seen.push((position, items(&list).to_vec()));
    };
    let mut paths = Vec::new();
    for state in ["draft", "draft", "submitted", "accepted", "discarded"] {
        let path = dossier_in("draft", &ada, &pro).await;
        for command in way_to(state) {
            let who = if OWNERS.contains(command) { &ada } else { &pro };
            let position = obey(who, &path, command).await.expect(200).position();
            see(position, &mut seen).await;
        }
        paths.push(path);
    }
    for (number, path) in paths.iter().take(2).enumerate() {
        let body = json!({ "title": format!("Été {number}"), "category": "studies", "description": "Three rooms" });
        see(ada.put(path, body).await.expect(200).position(), &mut seen).await;
    }
    see(obey(&pro, &paths[3], "reopen").await.expect(200).position(), &mut seen).await;
    let last = obey(&ada, &paths[0], "submit").await.expect(200).position();
    see(last, &mut seen).await;
    for (position, list) in &seen {
        let past = auditor.get(&format!("/api/dossiers?limit=100&atPosition={position}")).await.expect(200);
        assert_eq!(items(&past), list, "{position}");
        for (narrowing, pointer) in [("status=submitted", "/status"), ("category=studies", "/category")] {
            let past =
                auditor.get(&format!("/api/dossiers?limit=100&atPosition={position}&{narrowing}")).await.expect(200);
            let value = narrowing.split_once('=').unwrap().1;
            let expected: Vec<&Value> = list.iter().filter(|item| *item.pointer(pointer).unwrap() == value).collect();
            assert_eq!(items(&past).iter().collect::<Vec<_>>(), expected, "{position} {narrowing}");
        }
        let words = auditor.get(&format!("/api/dossiers?limit=100&atPosition={position}&q=ete")).await.expect(200);
        let titled = list.iter().filter(|item| item["title"].as_str().unwrap().starts_with("Été")).count();
        assert_eq!(items(&words).len(), titled, "{position}");
    }
    // By the time of each event, too, page by page, in either order.
    let history = auditor.get(&format!("{}/history?limit=100", paths[3])).await.expect(200);
    for event in items(&history) {
        let (at, position) = (event["at"].as_str().unwrap(), event["position"].as_u64().unwrap());
        let whole =
            auditor.get(&format!("/api/dossiers?limit=100&atPosition={position}&sort=createdAt")).await.expect(200);
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page =
                auditor.get(&format!("/api/dossiers?limit=2&asOf={at}&sort=createdAt{cursor}")).await.expect(200);
            paged.extend(items(&page).to_vec());
            let Some(next) = page.body["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, items(&whole), "{at}");
    }
    let before = auditor.get("/api/dossiers?asOf=2020-01-01T00:00:00Z").await.expect(200);
    assert!(items(&before).is_empty());
    let beyond = auditor.get(&format!("/api/dossiers?limit=100&atPosition={}", last + 1000)).await.expect(200);
    assert_eq!(items(&beyond), seen.last().unwrap().1);
}

#[tokio::test]
async fn the_past_is_shown_to_auditors_alone_and_that_is_on_record() {
    let (process, auditor, pro, ada) = people().await;
    let position = ada.create_dossier("x").await.position();
    let path = format!("/api/dossiers?atPosition={position}");
    let admin = process.admin().await;
    for other in [&ada, &pro, &admin] {
        other.get(&path).await.expect_problem(403, "access.forbidden");
    }
    assert_eq!(items(&auditor.get(&path).await.expect(200)).len(), 1);
    let accesses = auditor.get("/api/audit/accesses?action=read").await.expect(200);
    let told = items(&accesses).iter().any(|access| access["detail"]["at"] == json!({ "position": position }));
    assert!(told, "{:#}", accesses.body);
    for wrong in ["asOf=2026-01-01T00:00:00Z", "sort=title", "sort=updatedAt", "limit=0", "cursor=x"] {
        let answer = auditor.get(&format!("{path}&{wrong}")).await;
        assert_eq!(answer.status, 422, "{wrong}: {:#}", answer.body);
    }
    auditor.get("/api/dossiers?atPosition=9223372036854775808").await.expect(422);
    let first = auditor.get("/api/dossiers?limit=1&atPosition=100").await.expect(200);
    assert!(first.body["nextCursor"].is_null());
}
