//! A query is answered at the position it asks for, or says that it cannot be.

use std::time::Instant;

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn every_query_answers_at_the_position_it_asks_for() {
    let (ada, admin) = (applicant().await, admin().await);
    let auditor = person("auditor").await;
    let created = ada.create_dossier("A request").await;
    let path = format!("/api/dossiers/{}", created.id());
    for round in 0..10 {
        let edited = ada.put(&path, json!({ "title": format!("round {round}") })).await.expect(200);
        let position = edited.position().to_string();
        let queries = [
            (&ada, path.clone()),
            (&ada, "/api/dossiers".to_owned()),
            (&ada, format!("{path}/history")),
            (&ada, format!("{path}?version=1")),
            (&ada, format!("{path}/diff?from=1&to=1")),
            (&ada, "/api/users/me".to_owned()),
            (&ada, format!("/api/users/{}", ada.user_id)),
            (&auditor, "/api/audit/events".to_owned()),
            (&admin, "/api/admin/users".to_owned()),
            (&admin, "/api/admin/analytics".to_owned()),
            (&admin, "/api/analytics/timeInStatus".to_owned()),
            (&admin, "/api/analytics/changes".to_owned()),
            (&admin, "/api/admin/projections".to_owned()),
        ];
        for (client, query) in queries {
            let answer = get_with(client, &query, &[("capitune-min-position", &position)]).await.expect(200);
            let reached: u64 = answer.header("capitune-position").parse().unwrap();
            assert!(reached >= edited.position(), "{query}");
        }
        let read = ada.get(&format!("{path}?minPosition={position}")).await.expect(200);
        assert_eq!(read.body["title"], format!("round {round}"));
        let list = ada.get(&format!("/api/dossiers?minPosition={position}")).await.expect(200);
        assert_eq!(items(&list)[0]["title"], format!("round {round}"));
    }
}

#[tokio::test]
async fn a_position_beyond_the_head_is_waited_for_and_then_given_up() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let beyond = (head().await + 1_000_000).to_string();
    for query in [path.clone(), "/api/dossiers".to_owned(), format!("{path}/history"), "/api/users/me".to_owned()] {
        let started = Instant::now();
        let headers = [("capitune-min-position", beyond.as_str()), ("prefer", "wait=1")];
        let answer = get_with(&ada, &query, &headers).await.expect_problem(504, "projection.lagging");
        let waited = started.elapsed();
        assert!((900..3_000).contains(&waited.as_millis()), "{query} waited {waited:?}");
        assert_eq!(answer.body["status"], 504);
    }
    let started = Instant::now();
    let headers = [("prefer", "wait=0")];
    let answer = get_with(&ada, &format!("{path}?minPosition={beyond}"), &headers).await;
    answer.expect_problem(504, "projection.lagging");
    assert!(started.elapsed().as_millis() < 900);
    // The largest position there can be is a position all the same.
    let largest = i64::MAX.to_string();
    let headers = [("capitune-min-position", largest.as_str()), ("prefer", "wait=0")];
    get_with(&ada, &path, &headers).await.expect_problem(504, "projection.lagging");
}

#[tokio::test]
async fn without_a_preference_the_wait_is_five_seconds() {
    let ada = applicant().await;
    let beyond = head().await + 1_000_000;
    let path = format!("/api/dossiers?minPosition={beyond}");
    let wait = |headers: &'static [(&str, &str)]| {
        let (ada, path) = (ada.clone(), path.clone());
        async move {
            let started = Instant::now();
            get_with(&ada, &path, headers).await.expect_problem(504, "projection.lagging");
            started.elapsed()
        }
    };
    let (unsaid, nonsense) = tokio::join!(wait(&[]), wait(&[("prefer", "wait=nonsense")]));
    for waited in [unsaid, nonsense] {
        assert!((4_800..8_000).contains(&waited.as_millis()), "{waited:?}");
    }
}

#[tokio::test]
async fn a_query_is_answered_as_soon_as_the_position_comes() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    // Others write as well, so the position comes at the latest with the last of these commands.
    let wanted = head().await + 5;
    let query = {
        let (ada, path) = (ada.clone(), format!("{path}?minPosition={wanted}"));
        tokio::spawn(async move { get_with(&ada, &path, &[("prefer", "wait=15")]).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    for round in 0..5 {
        ada.put(&path, json!({ "title": format!("{round}") })).await.expect(200);
    }
    let answer = query.await.unwrap().expect(200);
    assert!(answer.header("capitune-position").parse::<u64>().unwrap() >= wanted);
}

#[tokio::test]
async fn the_higher_of_two_positions_counts() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let beyond = (head().await + 1_000_000).to_string();
    let headers = [("capitune-min-position", "1"), ("prefer", "wait=0")];
    get_with(&ada, &format!("{path}?minPosition={beyond}"), &headers).await.expect_problem(504, "projection.lagging");
    let headers = [("capitune-min-position", beyond.as_str()), ("prefer", "wait=0")];
    get_with(&ada, &format!("{path}?minPosition=1"), &headers).await.expect_problem(504, "projection.lagging");
    get_with(&ada, &format!("{path}?minPosition=0"), &[("capitune-min-position", "0")]).await.expect(200);
}

#[tokio::test]
async fn what_is_no_position_is_refused() {
    let ada = applicant().await;
    for bad in ["-1", "1.5", "abc", "", "18446744073709551616", "99999999999999999999999", "0x10", "1e3", "+1"] {
        let answer = get_with(&ada, "/api/dossiers", &[("capitune-min-position", bad)]).await;
        assert!(matches!(answer.status, 400 | 422), "header {bad}: {answer:?}");
        let encoded = bad.replace('+', "%2B");
        let answer = ada.get(&format!("/api/dossiers?minPosition={encoded}")).await;
        assert_eq!(answer.status, 422, "parameter {bad}: {answer:?}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/minPosition");
    }
}

#[tokio::test]
async fn many_who_wait_hold_up_nobody() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let beyond = head().await + 1_000_000;
    for query in ["/api/dossiers".to_owned(), format!("{path}/history")] {
        let query = format!("{query}?minPosition={beyond}");
        let crowd = join_all((0..200).map(|_| get_with(&ada, &query, &[("prefer", "wait=2")])));
        let meanwhile = async {
            let mut times = Vec::new();
            for round in 0..15 {
                tokio::time::sleep(Duration::from_millis(80)).await;
                let started = Instant::now();
                ada.put(&path, json!({ "title": format!("{query} {round}") })).await.expect(200);
                times.push(started.elapsed());
            }
            times.sort();
            times
        };
        let (crowd, times) = tokio::join!(crowd, meanwhile);
        assert!(crowd.iter().all(|answer| answer.status == 504));
        assert!(times[7] < Duration::from_millis(500), "{query}: {times:?}");
    }
}
