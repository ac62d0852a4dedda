//! Where one can go from what was made: to everything that can be done with it.

use serde_json::{Map, Value, json};

/// An operation on one thing.
struct Target {
    path: String,
    id: String,
    reads: bool,
}

/// Links every answer that something was made to the operations on it.
pub fn add(document: &mut Value) {
    let targets = targets(document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        if let Some(made) = item.pointer_mut("/post/responses/201") {
            let links = links(path, &targets);
            if !links.is_empty() {
                made["links"] = links.into();
            }
        }
    }
}

fn targets(document: &Value) -> Vec<Target> {
    let items = document["paths"].as_object().into_iter().flatten();
    let operations = items.flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |it| (path, it)));
    operations
        .filter_map(|(path, (method, operation))| {
            let id = operation["operationId"].as_str()?.to_owned();
            Some(Target { path: path.clone(), id, reads: method == "get" })
        })
        .collect()
}

/// What is made by a POST to `.../things` is what `/things/{id}` is about, wherever that is.
fn links(path: &str, targets: &[Target]) -> Map<String, Value> {
    let one = path.rsplit('/').next().map(|things| format!("/{things}/{{id}}")).unwrap_or_default();
    let about_it = targets.iter().filter(|target| target.path.contains(&one));
    let link = |target: &Target| {
        let mut parameters = json!({ "id": "$response.body#/id" });
        if target.reads {
            parameters["minPosition"] = json!("$response.body#/position");
        }
        (target.id.clone(), json!({ "operationId": target.id, "parameters": parameters }))
    };
    about_it.map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_leads_to_what_can_be_done_with_it() {
        let document: Value = serde_json::from_slice(&crate::routes::description()).unwrap();
        let linked = |path: &str| {
            let links = document["paths"][path]["post"]["responses"]["201"]["links"].as_object();
            links.into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        for (path, reader) in [("/api/dossiers", "getDossier"), ("/api/posts/{id}/comments", "editComment")] {
            assert!(linked(path).contains(&reader.to_owned()), "{path}: {:?}", linked(path));
        }
        let read = &document["paths"]["/api/dossiers"]["post"]["responses"]["201"]["links"]["getDossier"];
        assert_eq!(read["parameters"]["minPosition"], "$response.body#/position");
        assert!(linked("/api/auth/register").is_empty());
    }
}
