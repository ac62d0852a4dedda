//! The graph: what it shows is what the routes show, to whom they show it, and never too much at once.

use uuid::Uuid;

use super::*;

async fn ask(reader: &Client, query: &str) -> Answer {
    reader.post("/api/graphql", json!({ "query": query })).await
}

async fn told(reader: &Client, query: &str) -> Value {
    let answer = ask(reader, query).await.expect(200);
    assert_eq!(answer.body["errors"], Value::Null, "{:#}", answer.body);
    answer.body["data"].clone()
}

#[tokio::test]
async fn it_shows_what_the_routes_show_joined_as_one_asks() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = dossier_in("accepted", &ada, &pro).await;
    let id = path.rsplit('/').next().unwrap();
    let position = head().await;
    let query = format!(
        "{{ dossier(id: \"{id}\") {{
             id title status version description fields decision owner {{ id name }} reviewer {{ name }}
             history(first: 100) {{ items {{ version type role actor {{ id }} data changes }} nextCursor }} documents }}
           dossiers(first: 3) {{ items {{ id owner {{ name }} }} nextCursor }} }}"
    );
    let request = ada.request(Method::POST, &format!("/api/graphql?minPosition={position}"));
    let answer = ada.send(request.json(&json!({ "query": query }))).await.expect(200);
    assert!(answer.header("capitune-position").parse::<u64>().unwrap() >= position);
    let (graph, route) = (&answer.body["data"]["dossier"], ada.get(&path).await.expect(200).body);
    for member in ["id", "title", "status", "version", "description", "fields", "decision", "documents"] {
        assert_eq!(graph[member], route[member], "{member}: {graph:#}");
    }
    assert_eq!((&graph["owner"]["id"], &graph["owner"]["name"]), (&json!(ada.user_id), &json!("Ada Lovelace")));
    assert!(graph["reviewer"]["name"].is_string());
    let history = ada.get(&format!("{path}/history?limit=100")).await.expect(200);
    let events = graph["history"]["items"].as_array().unwrap();
    assert_eq!(events.len(), items(&history).len());
    for (event, item) in events.iter().zip(items(&history)) {
        for member in ["version", "type", "data", "changes"] {
            assert_eq!(event[member], item[member], "{member}");
        }
        assert_eq!((&event["actor"]["id"], &event["role"]), (&item["actor"]["id"], &item["actor"]["role"]));
    }
    assert_eq!(answer.body["data"]["dossiers"]["items"][0]["id"], id);

    let post = ada.post("/api/posts", json!({ "body": "Hello" })).await.expect(201).id();
    for number in 0..3 {
        let comment = json!({ "body": format!("{number}") });
        pro.post(&format!("/api/posts/{post}/comments"), comment).await.expect(201);
    }
    head_is_shown(&ada).await;
    let query = format!(
        "{{ post(id: \"{post}\") {{ body commentCount author {{ name }}
             comments(first: 2) {{ items {{ body depth author {{ id }} }} nextCursor }} }} }}"
    );
    let graph = told(&ada, &query).await["post"].clone();
    assert_eq!(
        (&graph["body"], &graph["commentCount"], &graph["author"]["name"]),
        (&json!("Hello"), &json!(3), &json!("Ada Lovelace"))
    );
    let comments = graph["comments"]["items"].as_array().unwrap();
    assert_eq!(
        (comments.len(), &comments[1]["body"], &comments[0]["author"]["id"]),
        (2, &json!("1"), &json!(pro.user_id))
    );
    let next = graph["comments"]["nextCursor"].as_str().unwrap();
    let rest =
        format!("{{ post(id: \"{post}\") {{ comments(after: \"{next}\") {{ items {{ body }} nextCursor }} }} }}");
    let rest = told(&ada, &rest).await["post"]["comments"].clone();
    assert_eq!(rest, json!({ "items": [{ "body": "2" }], "nextCursor": null }));
    let variables = json!({
        "query": "query One($id: UUID!) { post(id: $id) { body } } query Two { posts { items { id } } }",
        "variables": { "id": post }, "operationName": "One", "extensions": {}
    });
    let named = ada.post("/api/graphql", variables).await.expect(200);
    assert_eq!(named.body["data"], json!({ "post": { "body": "Hello" } }));
    let analyst = person("analyst").await;
    let figures = told(&analyst, "{ analytics(readModel: \"dossiersByStatus\") events { items { id } } }").await;
    assert!(figures["analytics"][0]["dossiers"].is_number(), "{figures}");
    let schema = ada.request(Method::GET, "/api/graphql").send().await.unwrap().text().await.unwrap();
    assert!(schema.contains("type Dossier") && schema.contains("history("), "{schema}");
}

/// Waits until the read models have what was done.
async fn head_is_shown(reader: &Client) {
    let position = head().await;
    for path in ["/api/posts", "/api/dossiers", "/api/events"] {
        reader.get(&format!("{path}?minPosition={position}")).await.expect(200);
    }
}

#[tokio::test]
async fn nobody_sees_more_than_by_the_routes() {
    let (ada, eve, admin, auditor) = (applicant().await, applicant().await, admin().await, person("auditor").await);
    let created = ada.create_dossier("Ada's own").await;
    let id = created.id();
    head_is_shown(&ada).await;
    let query = format!("{{ dossier(id: \"{id}\") {{ title description history {{ items {{ type }} }} }} }}");
    assert_eq!(told(&eve, &query).await, json!({ "dossier": null }));
    let metadata = told(&admin, &query).await["dossier"].clone();
    assert_eq!((&metadata["title"], &metadata["description"]), (&json!("Ada's own"), &Value::Null));
    assert_eq!(metadata["history"], Value::Null, "an admin replays nothing");
    let seen = told(&auditor, &query).await["dossier"].clone();
    assert_eq!((&seen["description"], seen["history"]["items"].as_array().unwrap().len()), (&json!("Two rooms"), 1));
    let accesses = ada.get("/api/users/me/accesses?limit=100").await.expect(200);
    let reads = items(&accesses).iter().filter(|access| access["action"] == "read").count();
    assert_eq!(reads, 2, "{:#}", accesses.body);
    let refused = ask(&ada, "{ analytics(readModel: \"dossiers\") }").await.expect(200);
    assert_eq!(refused.body["errors"][0]["extensions"]["code"], "access.forbidden", "{:#}", refused.body);
    let past = ask(&ada, "{ dossiers(asOf: \"2026-01-01T00:00:00Z\") { items { id } } }").await.expect(200);
    assert_eq!(past.body["errors"][0]["extensions"]["code"], "access.forbidden");
    nobody().await.post("/api/graphql", json!({ "query": "{ posts { items { id } } }" })).await.expect(401);
    let token = json!({ "name": "A script", "scopes": ["dossiers:read"] });
    let issued = ada.post("/api/auth/tokens", token).await.expect(201);
    let program = ada.with_token(issued.body["token"].as_str().unwrap());
    ask(&program, "{ posts { items { id } } }").await.expect_problem(403, "auth.scope_missing");
}

#[tokio::test]
async fn what_asks_for_too_much_is_refused_before_anything_is_read() {
    let ada = applicant().await;
    let times =
        |number: usize, field: &str| -> String { (0..number).map(|number| format!("a{number}: {field} ")).collect() };
    let aliases = times(10_000, "posts { items { id } }");
    let lookup = format!("dossier(id: \"{}\") {{ id }}", Uuid::now_v7());
    let directives = "@include(if: true) ".repeat(1_000);
    let deep = format!("{{ posts {{ items {{ {}id{} }} }} }}", "author { ".repeat(50), " }".repeat(50));
    let too_much = [
        format!("{{ {} }}", &aliases[..60_000]),
        format!("{{ {} }}", times(11, "posts(first: 100) { items { id } }")),
        format!("{{ {} }}", times(40, "events(first: 1) { items { id } }")),
        format!("{{ {} }}", times(100, &lookup)),
        format!("{{ {} }}", times(11, "analytics(readModel: \"owners\")")),
        "{ posts(first: 100) { items { comments(first: 100) { items { author { name } } } } } }".to_owned(),
        format!("{{ posts {directives} {{ items {{ id }} }} }}"),
        format!("{{ {} }}", " ".repeat(70_000)),
    ];
    for query in too_much {
        let shown = &query[..query.len().min(60)];
        let answer = ask(&ada, &query).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!("graphql.too_complex")),
            "{shown}: {:#}",
            answer.body
        );
    }
    let invalid = [
        "",
        "{",
        "nonsense",
        &deep,
        "{ owners { id } }",
        "{ posts { items { id secret } } }",
        "mutation { posts { items { id } } }",
        "subscription { posts { items { id } } }",
        "{ posts { ...A } } fragment A on PostPage { ...B } fragment B on PostPage { ...A }",
        "query A { posts { items { id } } } query B { posts { items { id } } }",
        "{ posts(first: \"1\") { items { id } } }",
    ];
    for query in invalid {
        let answer = ask(&ada, query).await;
        assert_eq!(answer.status, 400, "{query}: {:#}", answer.body);
        assert!(answer.body["code"].as_str().unwrap().starts_with("graphql."), "{:#}", answer.body);
        // Nothing of the schema is guessed for who mistypes it.
        assert!(!answer.body.to_string().contains("Did you mean"), "{:#}", answer.body);
    }
    let introspection = ask(&ada, "{ __schema { types { name } } __type(name: \"Dossier\") { name } }").await;
    assert!(!introspection.body.to_string().contains("Dossier\""), "{:#}", introspection.body);
    let no_id = ask(&ada, "{ post(id: \"x\") { id } }").await;
    assert!(!no_id.body["errors"][0].is_null() && no_id.body["data"].is_null(), "{:#}", no_id.body);
    for (first, after) in [(0, "x"), (101, "x"), (-1, "x"), (1, "forged")] {
        let query = format!("{{ posts(first: {first}, after: \"{after}\") {{ items {{ id }} }} }}");
        let answer = ask(&ada, &query).await;
        let refused = answer.status == 400 || answer.body["errors"][0]["extensions"]["code"].is_string();
        assert!(refused, "{query}: {:#}", answer.body);
    }
    let batch = json!([{ "query": "{ posts { items { id } } }" }]);
    assert!((400..=422).contains(&ada.post("/api/graphql", batch).await.status));
    ada.post("/api/graphql", json!({ "query": "{ posts { items { id } } }", "more": 1 }))
        .await
        .expect_problem(422, "field.unknown");
}
