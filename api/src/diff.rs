//! What differs between two states of a resource.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::extract::escape;

/// One value that differs.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Change)]
pub struct Difference {
    /// JSON pointer into the resource.
    pub pointer: String,
    /// What it was; null when there was nothing.
    pub from: Value,
    /// What it became; null when there is nothing any more.
    pub to: Value,
}

/// Differs with every event, and so says nothing.
const ALWAYS: [&str; 2] = ["/version", "/updatedAt"];

/// What became of `from` on the way to `to`; null stands for what did not exist.
pub fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    let empty = Value::Object(Map::new());
    let whole = |state| if matches!(state, &Value::Null) { &empty } else { state };
    compare(&mut differences, String::new(), whole(from), whole(to));
    differences.retain(|difference| !ALWAYS.contains(&difference.pointer.as_str()));
    differences
}

fn compare(differences: &mut Vec<Difference>, pointer: String, from: &Value, to: &Value) {
    if let (Value::Object(from), Value::Object(to)) = (from, to) {
        let added = to.keys().filter(|name| !from.contains_key(*name));
        for name in from.keys().chain(added) {
            let member = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            compare(differences, format!("{pointer}/{}", escape(name)), &member(from), &member(to));
        }
    } else if from != to {
        differences.push(Difference { pointer, from: from.clone(), to: to.clone() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(from: Value, to: Value) -> Vec<String> {
        differences(&from, &to).into_iter().map(|difference| difference.pointer).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let one = json!({ "title": "a", "fields": { "x/y": 1, "z": [1, 2] }, "note": null, "version": 1 });
        let two = json!({ "title": "b", "fields": { "x/y": 1, "z": [1, 3], "w": true }, "note": null, "version": 2 });
        assert_eq!(pointers(one.clone(), two), ["/fields/z", "/fields/w", "/title"]);
        assert!(pointers(one.clone(), one).is_empty());
    }

    #[test]
    fn what_is_new_came_from_nothing() {
        let changes = differences(&Value::Null, &json!({ "title": "a", "note": null }));
        assert_eq!(changes, [Difference { pointer: "/title".into(), from: Value::Null, to: "a".into() }]);
    }
}
