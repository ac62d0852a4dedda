//! Who got in, who was refused, whose rights changed, who read what: for those concerned and for auditors alone.

use uuid::Uuid;

use super::*;

/// What concerns somebody, as they see it, the newest first.
async fn own(person: &Client) -> Vec<Value> {
    items(&person.get("/api/users/me/accesses?limit=100").await.expect(200)).to_vec()
}

fn of<'a>(accesses: &'a [Value], action: &str) -> Vec<&'a Value> {
    accesses.iter().filter(|access| access["action"] == action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_good_and_bad_are_there_to_be_seen() {
    let (email, ada) = account().await;
    log_in(&nobody().await.from("127.0.7.1"), &email, "not it", None).await.expect(401);
    ada.post("/api/auth/step-up", json!({ "password": "not it" })).await.expect(403);
    let accesses = own(&ada).await;
    let log_ins = of(&accesses, "logIn");
    assert_eq!(log_ins.len(), 2);
    assert_eq!((&log_ins[0]["refusal"], &log_ins[0]["actorId"]), (&json!("auth.invalid_credentials"), &Value::Null));
    assert_eq!((&log_ins[0]["address"], &log_ins[0]["accountId"]), (&json!("127.0.7.1"), &json!(ada.user_id)));
    assert_eq!((&log_ins[1]["refusal"], &log_ins[1]["actorId"]), (&Value::Null, &json!(ada.user_id)));
    assert_eq!(of(&accesses, "stepUp")[0]["refusal"], "auth.wrong_password");
    let names = names(&accesses[0]).len();
    assert_eq!(names, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_tried_without_a_right_is_recorded() {
    let (ada, eve) = (applicant().await, applicant().await);
    let path = new_dossier(&ada).await;
    eve.get("/api/admin/users").await.expect(403);
    eve.put(&path, json!({ "title": "Mine now" })).await.expect(404);
    eve.get(&format!("/api/dossiers/{}", Uuid::now_v7())).await.expect(404);
    let refused = async || of(&own(&eve).await, "request").into_iter().cloned().collect::<Vec<_>>();
    crate::support::eventually("refusals are recorded", async || refused().await.len() >= 2).await;
    let refused = refused().await;
    assert_eq!(refused.len(), 2);
    let detail = |access: &Value| (access["refusal"].clone(), access["detail"]["route"].clone());
    assert_eq!(detail(&refused[0]), (json!("dossier.not_found"), json!("/api/dossiers/{id}")));
    assert_eq!(detail(&refused[1]), (json!("access.forbidden"), json!("/api/admin/users")));
    assert!(of(&own(&ada).await, "request").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_rights_are_changed_learns_by_whom() {
    let ada = applicant().await;
    let admin = admin().await;
    let roles = format!("/api/admin/users/{}/roles", ada.user_id);
    admin.put(&roles, json!({ "roles": ["applicant", "pro"] })).await.expect(200);
    let status = format!("/api/admin/users/{}/status", ada.user_id);
    admin.put(&status, json!({ "status": "active", "reason": "Nothing to do" })).await.expect(200);
    let accesses = own(&ada).await;
    let changed = of(&accesses, "changeRoles");
    assert_eq!(changed[0]["detail"], json!({ "from": ["applicant"], "to": ["applicant", "pro"] }));
    assert_ne!(changed[0]["actorId"], json!(ada.user_id));
    // From where the admin works is nobody else's business.
    assert_eq!((&changed[0]["address"], &changed[0]["device"]), (&Value::Null, &Value::Null));
    assert_eq!(of(&accesses, "changeStatus")[0]["detail"], json!({ "to": "active" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_sees_which_auditor_read_their_dossier() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let path = new_dossier(&ada).await;
    for path in [&path, &format!("{path}/history"), &format!("{path}?version=1")] {
        auditor.get(path).await.expect(200);
        ada.get(path).await.expect(200);
    }
    auditor.get("/api/dossiers?limit=1").await.expect(200);
    let accesses = own(&ada).await;
    let read = of(&accesses, "read");
    assert_eq!(read.len(), 3);
    let id = path.rsplit('/').next().unwrap();
    assert!(read.iter().all(|read| read["resourceId"] == id && read["actorId"] == json!(auditor.user_id)));
    auditor.get("/api/audit/events?type=DossierSubmitted").await.expect(200);
    let own = own(&auditor).await;
    assert_eq!(of(&own, "read")[0]["detail"]["filter"]["type"], "DossierSubmitted");
    assert_eq!(of(&own, "read").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_see_all_of_it_by_page_and_filter_and_nobody_else_does() {
    let (auditor, ada) = (person("auditor").await, applicant().await);
    let path = new_dossier(&ada).await;
    for _ in 0..5 {
        auditor.get(&format!("{path}/history")).await.expect(200);
    }
    let filter = format!("/api/audit/accesses?account={}&actor={}&action=read", ada.user_id, auditor.user_id);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = auditor.get(&format!("{filter}&limit=2{cursor}")).await.expect(200);
        seen.extend(items(&page).iter().map(|access| access["id"].as_str().unwrap().to_owned()));
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|earlier, later| earlier > later));
    assert!(items(&auditor.get(&format!("{filter}&to=2020-01-01T00:00:00Z")).await.expect(200)).is_empty());
    auditor.get("/api/audit/accesses?action=nonsense").await.expect(422);
    for other in [ada, person("pro").await, person("analyst").await, admin().await] {
        other.get("/api/audit/accesses").await.expect_problem(403, "access.forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_time_is_swept_and_nothing_else() {
    let url = database_url().await;
    Process::api(&url, &[]).await.kill();
    execute(
        &url,
        "insert into guesses (bucket, wrong, last_at)
             values ('old', 1, now() - interval '25 hours'), ('new', 1, now() - interval '23 hours');
         insert into accesses (id, at, action, request_id)
             values (gen_random_uuid(), now() - interval '401 days', 'swept', 'r'),
                    (gen_random_uuid(), now() - interval '399 days', 'swept', 'r')",
    )
    .await;
    let process = Process::start(&url, &servers().await.nats_url, &[]).await;
    process.ready().await;
    let counts = async || {
        let mut connection: sqlx::PgConnection = sqlx::Connection::connect(&url).await.unwrap();
        let query = "select (select count(*) from guesses), (select count(*) from accesses where action = 'swept')";
        sqlx::query_as::<_, (i64, i64)>(query).fetch_one(&mut connection).await.unwrap()
    };
    crate::support::eventually("it is swept", async || counts().await == (1, 1)).await;
}
