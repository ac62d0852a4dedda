//! The figures and the change feed: what was done, counted, and nothing personal.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::*;

/// The item of a list whose members have these values.
fn row<'a>(answer: &'a Answer, members: &[(&str, &Value)]) -> &'a Value {
    let found = items(answer).iter().find(|item| members.iter().all(|(name, value)| item[name] == **value));
    found.unwrap_or(&Value::Null)
}

#[tokio::test]
async fn the_instance_at_a_glance_is_what_was_done() {
    // A system of its own, since everything is counted.
    let process = Process::api(&database_url().await, &[]).await;
    let admin = process.admin().await;
    let (ada, pro) = (process.client().register("Ada").await, admin.register_with_roles("Pro", &["pro"]).await);
    let analyst = admin.register_with_roles("Anna", &["analyst"]).await;
    for state in ["draft", "draft", "submitted", "in_review", "accepted", "refused", "withdrawn", "discarded"] {
        dossier_in(state, &ada, &pro).await;
    }
    let reopened = dossier_in("accepted", &ada, &pro).await;
    let last = obey(&pro, &reopened, "reopen").await.expect(200).position();
    for reader in [&analyst, &admin] {
        let glance = reader.get(&format!("/api/admin/analytics?minPosition={last}")).await.expect(200);
        let mut by_status: BTreeMap<&str, i64> = BTreeMap::new();
        for count in glance.body["byStatus"].as_array().unwrap() {
            by_status.insert(count["status"].as_str().unwrap(), count["dossiers"].as_i64().unwrap());
        }
        by_status.retain(|_, dossiers| *dossiers != 0);
        let expected =
            [("draft", 2), ("submitted", 1), ("in_review", 2), ("accepted", 1), ("refused", 1), ("withdrawn", 1)];
        assert_eq!(by_status, BTreeMap::from(expected), "{:#}", glance.body);
        assert_eq!((&glance.body["accounts"], &glance.body["dossiers"]), (&json!(4), &json!(8)));
        assert_eq!((&glance.body["submittedToday"], &glance.body["decidedToday"]), (&json!(6), &json!(3)));
    }
    // The feed, followed to its end, is what is there.
    let mut things = BTreeMap::new();
    let mut after = 0;
    loop {
        let page =
            analyst.get(&format!("/api/analytics/changes?limit=3&after={after}&minPosition={last}")).await.expect(200);
        for item in items(&page) {
            assert_eq!(names(item), ["change", "data", "id", "kind", "position"]);
            assert!(item["position"].as_u64().unwrap() > after || things.is_empty());
            things.insert(item["id"].as_str().unwrap().to_owned(), item.clone());
        }
        let next = page.body["after"].as_u64().unwrap();
        assert!(next >= after);
        after = next;
        if items(&page).is_empty() {
            break;
        }
    }
    let dossiers: Vec<&Value> = things.values().filter(|thing| thing["kind"] == "dossier").collect();
    assert_eq!(dossiers.len(), 9);
    let gone: Vec<_> = dossiers.iter().filter(|thing| thing["change"] == "tombstone").collect();
    assert_eq!((gone.len(), &gone[0]["data"]), (1, &Value::Null));
    let accepted = dossiers.iter().filter(|thing| thing["data"]["status"] == "accepted").count();
    assert_eq!(accepted, 1);
    assert!(after >= last);
}

#[tokio::test]
async fn the_read_models_count_what_was_done() {
    let (ada, pro, analyst) = (applicant().await, person("pro").await, person("analyst").await);
    let category = format!("c{}", &ada.user_id.simple().to_string()[8..]);
    for (state, done) in [("accepted", "reopen"), ("refused", ""), ("accepted", ""), ("submitted", "")] {
        let path = dossier_in("draft", &ada, &pro).await;
        ada.put(&path, json!({ "category": category })).await.expect(200);
        for command in way_to(state).iter().copied().chain([done]).filter(|command| !command.is_empty()) {
            obey(if OWNERS.contains(&command) { &ada } else { &pro }, &path, command).await.expect(200);
        }
    }
    let position = head().await;
    let read = |name: &'static str| {
        let analyst = analyst.clone();
        async move { analyst.get(&format!("/api/analytics/{name}?minPosition={position}")).await.expect(200) }
    };
    let decisions = read("decisionsByReviewer").await;
    let mine = row(&decisions, &[("reviewerId", &json!(pro.user_id))]);
    assert_eq!((&mine["accepted"], &mine["refused"], &mine["closed"]), (&json!(2), &json!(1), &json!(0)));
    let days = read("dossiersByDay").await;
    let today = json!(chrono::Utc::now().date_naive());
    for (status, entered) in [("submitted", 4), ("accepted", 2), ("refused", 1)] {
        let day = row(&days, &[("category", &json!(category)), ("status", &json!(status)), ("day", &today)]);
        assert_eq!(day["entered"], entered, "{status}: {:#}", days.body);
    }
    let stays = read("timeInStatus").await;
    let in_review = row(&stays, &[("category", &json!(category)), ("status", &json!("in_review"))]);
    assert_eq!(in_review["stays"], 3, "{:#}", stays.body);
    assert!(in_review["totalMs"].as_u64().is_some_and(|milliseconds| milliseconds < 60_000));
    let now = read("dossiersByStatus").await;
    assert!(row(&now, &[("status", &json!("refused"))])["dossiers"].as_u64() >= Some(1));
    let tomorrow = chrono::Utc::now().date_naive() + chrono::Days::new(2);
    let later = analyst.get(&format!("/api/analytics/dossiersByDay?from={tomorrow}")).await.expect(200);
    assert!(items(&later).is_empty());
    for bad in ["nothing", "DossiersByDay", "%00", "..", "accounts", "'"] {
        let answer = analyst.get(&format!("/api/analytics/{bad}")).await;
        assert!(matches!(answer.status, 404 | 422), "{bad}: {answer:?}");
    }
    for bad in ["from=x", "from=2026-02-30", "to=", "from=0", "day=2026-01-01"] {
        let answer = analyst.get(&format!("/api/analytics/dossiersByDay?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
}

#[tokio::test]
async fn the_feed_waits_for_a_change() {
    let (ada, analyst) = (applicant().await, person("analyst").await);
    let path = new_dossier(&ada).await;
    let after = head().await;
    let change = {
        let analyst = analyst.clone();
        tokio::spawn(async move {
            analyst.get(&format!("/api/analytics/changes?after={after}&wait=20&minPosition={after}")).await
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    ada.put(&path, json!({ "title": "changed" })).await.expect(200);
    let change = change.await.unwrap().expect(200);
    assert!(items(&change)[0]["position"].as_u64() > Some(after));
    let started = Instant::now();
    let nothing = analyst.get(&format!("/api/analytics/changes?after={}&wait=1", i64::MAX)).await.expect(200);
    assert!(items(&nothing).is_empty());
    assert!((900..4_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    for bad in
        ["wait=31", "wait=-1", "wait=x", "after=-1", "after=9223372036854775808", "limit=0", "limit=101", "cursor=x"]
    {
        let answer = analyst.get(&format!("/api/analytics/changes?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
}

#[tokio::test]
async fn nothing_personal_is_counted() {
    let secret = Uuid::now_v7().simple().to_string();
    let analyst = person("analyst").await;
    let ada = nobody().await.register(&format!("name{secret}")).await;
    let start = head().await;
    let body = json!({ "title": format!("title{secret}"), "category": "x", "description": format!("text{secret}"), "fields": { "a": secret } });
    let position = ada.post("/api/dossiers", body).await.expect(201).position();
    for path in [
        format!("/api/analytics/changes?limit=100&after={start}&minPosition={position}"),
        "/api/admin/analytics".to_owned(),
        "/api/analytics/dossiersByDay".to_owned(),
        "/api/analytics/dossiersByStatus".to_owned(),
        "/api/analytics/decisionsByReviewer".to_owned(),
    ] {
        let answer = analyst.get(&path).await.expect(200);
        let text = answer.body.to_string();
        assert!(!text.contains(&secret) && !text.contains("@capitune.test"), "{path}: {text}");
    }
}

/// A system of its own, since everything is counted; its admin, and an analyst.
async fn counted(settings: &[(&str, &str)]) -> (Process, Client, Client) {
    let mut command = Process::command(&[]);
    let servers = crate::support::servers().await;
    command.env("DATABASE_URL", database_url().await).env("NATS_URL", &servers.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    command.envs(settings.iter().copied());
    let process = Process::spawn(command).await;
    process.ready().await;
    let admin = process.admin().await;
    let analyst = admin.register_with_roles("Anna", &["analyst"]).await;
    (process, admin, analyst)
}

async fn table(analyst: &Client, name: &str, media_type: &str, position: u64) -> Vec<u8> {
    let path = format!("/api/analytics/{name}?minPosition={position}");
    let request = analyst.request(Method::GET, &path).header("Accept", media_type);
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, media_type));
    assert!(response.headers()["capitune-position"].to_str().unwrap().parse::<u64>().unwrap() >= position);
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn the_way_of_dossiers_their_times_and_their_reasons_are_figures() {
    let (process, admin, analyst) = counted(&[]).await;
    let (ada, pro) = (process.client().register("Ada").await, admin.register_with_roles("Pro", &["pro"]).await);
    for state in
        ["draft", "submitted", "in_review", "changes_requested", "accepted", "accepted", "refused", "discarded"]
    {
        dossier_in(state, &ada, &pro).await;
    }
    let post = ada.post("/api/posts", json!({ "body": "Hello" })).await.expect(201).id();
    for _ in 0..2 {
        ada.post(&format!("/api/posts/{post}/comments"), json!({ "body": "Me" })).await.expect(201);
    }
    pro.post(&format!("/api/posts/{post}/like"), json!({})).await.expect(200);
    pro.delete(&format!("/api/posts/{post}/like")).await.expect(200);
    let organizer = admin.register_with_roles("Olga", &["organizer"]).await;
    let plan = json!({
        "title": "x", "timeZone": "Europe/Paris", "startsAt": "2999-01-01T00:00:00Z", "endsAt": "2999-01-02T00:00:00Z",
        "capacity": 1
    });
    let live = organizer.post("/api/admin/events", plan).await.expect(201).id();
    organizer.post(&format!("/api/admin/events/{live}/publish"), json!({})).await.expect(200);
    for guest in [&ada, &pro] {
        guest.post(&format!("/api/events/{live}/register"), json!({})).await.expect(200);
    }
    let last = ada.delete(&format!("/api/events/{live}/register")).await.expect(200).position();
    let read = async |name: &str| {
        items(&analyst.get(&format!("/api/analytics/{name}?minPosition={last}")).await.expect(200)).to_vec()
    };
    let [funnel] = read("dossierFunnel").await.try_into().unwrap();
    let today = chrono::Utc::now().date_naive();
    let month = json!(today.format("%Y-%m-01").to_string());
    let members = ["month", "created", "submitted", "reviewed", "accepted", "refused", "closed", "withdrawn"];
    let expected = [month.clone(), json!(7), json!(6), json!(5), json!(2), json!(1), json!(0), json!(0)];
    assert_eq!(members.map(|member| funnel[member].clone()), expected, "{funnel}");
    let times = read("processingTimes").await;
    let of = |month: &Value, category: &Value, reviewer: &Value| {
        let found = times
            .iter()
            .filter(|row| row["month"] == *month && row["category"] == *category && row["reviewerId"] == *reviewer);
        let [row] = found.collect::<Vec<_>>().try_into().unwrap();
        assert!(row["medianHours"].as_f64().unwrap() <= row["p90Hours"].as_f64().unwrap(), "{row}");
        assert!(row["p90Hours"].as_f64().unwrap() < 0.1, "{row}");
        row["decisions"].as_i64().unwrap()
    };
    let category = funnel["category"].clone();
    for row in [
        (&Value::Null, &Value::Null, &Value::Null),
        (&month, &Value::Null, &Value::Null),
        (&Value::Null, &category, &Value::Null),
        (&Value::Null, &Value::Null, &json!(pro.user_id)),
        (&month, &category, &Value::Null),
        (&month, &Value::Null, &json!(pro.user_id)),
    ] {
        assert_eq!(of(row.0, row.1, row.2), 3);
    }
    let [reasons] = read("changeReasons").await.try_into().unwrap();
    assert_eq!(
        (&reasons["month"], &reasons["reason"], &reasons["requests"]),
        (&month, &json!("incomplete"), &json!(1))
    );
    let [community] = read("community").await.try_into().unwrap();
    let members = ["day", "posts", "comments", "likes", "unlikes"].map(|member| community[member].clone());
    assert_eq!(members, [json!(today), json!(1), json!(2), json!(1), json!(1)]);
    let [taken] = read("liveEvents").await.try_into().unwrap();
    let members =
        ["id", "status", "capacity", "confirmed", "waitlisted", "cancelled"].map(|member| taken[member].clone());
    assert_eq!(members, [json!(live), json!("scheduled"), json!(1), json!(2), json!(1), json!(1)]);
    assert_eq!(read("registrations").await[0]["registered"], 5);
    assert_eq!(read("dossiers").await.len(), 7);
    // What is told of the columns is what there is, and none is anybody's.
    for model in items(&analyst.get("/api/analytics").await.expect(200)) {
        let rows = read(model["name"].as_str().unwrap()).await;
        let told: Vec<&str> =
            model["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        let mut sorted = told.clone();
        sorted.sort_unstable();
        assert_eq!(names(&rows[0]), sorted);
        let all = json!(rows).to_string();
        assert!(!all.contains(&ada.user_id.to_string()) && !all.contains("Two rooms"), "{all}");
    }
}

#[tokio::test]
async fn the_same_rows_come_in_every_form() {
    let (process, admin, analyst) = counted(&[]).await;
    let (ada, pro) = (process.client().register("Ada").await, admin.register_with_roles("Pro", &["pro"]).await);
    for state in ["draft", "submitted", "accepted"] {
        dossier_in(state, &ada, &pro).await;
    }
    let awkward = json!({ "title": "x", "category": "=1+1, \"é\"\n" });
    let last = ada.post("/api/dossiers", awkward).await.expect(201).position();
    let json: Value = serde_json::from_slice(&table(&analyst, "dossiers", "application/json", last).await).unwrap();
    let rows = json["items"].as_array().unwrap();
    assert_eq!((rows.len(), &json["nextCursor"]), (4, &Value::Null));
    let lines = String::from_utf8(table(&analyst, "dossiers", "application/x-ndjson", last).await).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(&lines, rows);

    let text = table(&analyst, "dossiers", "text/csv", last).await;
    let mut csv = csv::Reader::from_reader(text.as_slice());
    let columns: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
    for (record, row) in csv.records().map(Result::unwrap).zip(rows) {
        for (name, cell) in columns.iter().zip(&record) {
            match &row[name] {
                Value::Null => assert_eq!(cell, ""),
                Value::String(text) if text.starts_with('=') => assert_eq!(cell, format!("'{text}")),
                // Times are written to the microsecond, whatever they end in.
                Value::String(text) if name.ends_with("At") => assert_eq!(moment(cell), moment(text)),
                Value::String(text) => assert_eq!(cell, text),
                other => assert_eq!(cell, other.to_string()),
            }
        }
    }

    let file = bytes::Bytes::from(table(&analyst, "dossiers", "application/vnd.apache.parquet", last).await);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    assert_eq!(
        schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>(),
        columns.iter().collect::<Vec<_>>()
    );
    assert_eq!(schema.field_with_name("createdAt").unwrap().data_type().to_string(), "Timestamp(µs, \"UTC\")");
    assert_eq!(schema.field_with_name("changeRequests").unwrap().data_type().to_string(), "Int64");
    assert!(schema.field_with_name("status").unwrap().metadata()["about"].contains("How far"));
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let text = |name: &str| {
        let column = batches[0].column_by_name(name).unwrap();
        let column = column.as_any().downcast_ref::<arrow_array::StringArray>().unwrap();
        column.iter().map(|value| json!(value)).collect::<Vec<_>>()
    };
    for name in ["id", "category", "status", "reviewerId", "outcome"] {
        assert_eq!(text(name), rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>(), "{name}");
    }
    let times = batches[0].column_by_name("submittedAt").unwrap();
    let times = times.as_any().downcast_ref::<arrow_array::TimestampMicrosecondArray>().unwrap();
    for (time, row) in times.iter().zip(rows) {
        assert_eq!(time, row["submittedAt"].as_str().map(|text| moment(text).timestamp_micros()));
    }
    // With nothing in it, it is a table all the same.
    for media_type in ["application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.parquet"] {
        let empty = table(&analyst, "liveEvents", media_type, last).await;
        assert_eq!(empty.is_empty(), media_type == "application/x-ndjson");
    }
    analyst.get("/api/analytics/owners").await.expect_problem(404, "read_model.not_found");
    analyst.get("/api/analytics/dossiers?limit=3").await.expect_problem(422, "parameter.unknown");
}

fn moment(text: &str) -> chrono::DateTime<chrono::Utc> {
    text.parse().unwrap()
}

#[tokio::test]
async fn figures_of_few_are_not_shown() {
    let (process, admin, analyst) = counted(&[("CAPITUNE_SMALLEST_GROUP", "3")]).await;
    let (ada, pro) = (process.client().register("Ada").await, admin.register_with_roles("Pro", &["pro"]).await);
    for state in ["accepted", "accepted", "accepted", "refused", "submitted"] {
        dossier_in(state, &ada, &pro).await;
    }
    let rare = json!({ "title": "x", "category": "rare" });
    let last = ada.post("/api/dossiers", rare).await.expect(201).position();
    let read = async |name: &str| {
        items(&analyst.get(&format!("/api/analytics/{name}?minPosition={last}")).await.expect(200)).to_vec()
    };
    let [funnel] = read("dossierFunnel").await.try_into().unwrap();
    assert_eq!((&funnel["created"], &funnel["accepted"]), (&json!(5), &json!(3)));
    assert_eq!((&funnel["refused"], &funnel["closed"]), (&Value::Null, &json!(0)));
    let decisions = read("decisionsByReviewer").await;
    assert_eq!((&decisions[0]["accepted"], &decisions[0]["refused"]), (&json!(3), &Value::Null));
    let days = read("dossiersByDay").await;
    let entered = |status: &str, category: &str| {
        let day = days.iter().find(|day| day["status"] == status && day["category"] == category).unwrap();
        day["entered"].clone()
    };
    assert_eq!((entered("accepted", "housing"), entered("draft", "rare")), (json!(3), Value::Null));
    assert!(read("processingTimes").await.iter().all(|row| row["decisions"].as_i64() >= Some(3)));
    assert_eq!(read("processingTimes").await.len(), 6);
    let by_status = read("dossiersByStatus").await;
    let number = |status: &str| by_status.iter().find(|row| row["status"] == status).unwrap()["dossiers"].clone();
    assert_eq!((number("accepted"), number("refused")), (json!(3), Value::Null));
}

#[tokio::test]
async fn what_is_not_shown_does_not_follow_from_what_is() {
    let (process, admin, analyst) = counted(&[("CAPITUNE_SMALLEST_GROUP", "3")]).await;
    let (ada, pro) = (process.client().register("Ada").await, admin.register_with_roles("Pro", &["pro"]).await);
    let mut last = 0;
    // Of the one alone, all and the others would tell; with the four that are left out as well, it is five.
    for (category, decided) in [("few", 1), ("some", 4), ("many", 6)] {
        for _ in 0..decided {
            let dossier = json!({ "title": "x", "category": category });
            let path = ada.post("/api/dossiers", dossier).await.expect(201).header("location").to_owned();
            for command in way_to("accepted") {
                let who = if OWNERS.contains(command) { &ada } else { &pro };
                last = obey(who, &path, command).await.expect(200).position();
            }
        }
    }
    let path = format!("/api/analytics/processingTimes?minPosition={last}");
    let times = items(&analyst.get(&path).await.expect(200)).to_vec();
    let month = json!(chrono::Utc::now().date_naive().format("%Y-%m-01").to_string());
    for month in [Value::Null, month] {
        let of_month = times.iter().filter(|row| row["month"] == month && row["reviewerId"].is_null());
        let mut shown: Vec<_> = of_month.map(|row| (row["category"].as_str(), row["decisions"].as_i64())).collect();
        shown.sort_unstable();
        assert_eq!(shown, [(None, Some(11)), (Some("many"), Some(6))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_takes_no_more_memory_and_a_slow_reader_holds_nobody_up() {
    let url = database_url().await;
    let process = Process::api(&url, &[]).await;
    let admin = process.admin().await;
    execute(
        &url,
        "insert into analytics.dossiers (id, organization_id, category, status, since, archived, version, created_at,
             change_requests)
         select gen_random_uuid(), gen_random_uuid(), 'housing', 'draft', now(), false, 1, now(), n
         from generate_series(1, 400000) n",
    )
    .await;
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let request = |media_type| admin.request(Method::GET, "/api/analytics/dossiers").header("Accept", media_type);
    let before = memory();
    let mut slow = Vec::new();
    for media_type in ["application/json", "text/csv", "application/vnd.apache.parquet"] {
        slow.push(request(media_type).send().await.unwrap());
    }
    let mut read = 0;
    let mut highest = before;
    let mut fast = request("application/x-ndjson").send().await.unwrap();
    while let Some(chunk) = fast.chunk().await.unwrap() {
        read += chunk.iter().filter(|byte| **byte == b'\n').count();
        highest = highest.max(memory());
    }
    assert_eq!(read, 400_000);
    assert!(highest < before + 100, "{before} MiB before, {highest} MiB under way");
    // Those that nobody reads wait, and others are served.
    admin.get("/api/admin/analytics").await.expect(200);
    for _ in 0..5 {
        slow.push(request("text/csv").send().await.unwrap());
    }
    admin.get("/api/analytics/dossiers").await.expect_problem(503, "read_model.busy");
    drop(slow);
    let free = async || {
        let one = request("text/csv").send().await.unwrap();
        one.status() == 200
    };
    crate::support::eventually("those who left give way", free).await;
}
