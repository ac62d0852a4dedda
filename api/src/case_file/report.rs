//! The report that people read: plain HTML that needs nothing else.

use std::fmt::Write;

use html_escape::encode_safe;
use serde_json::Value;

use super::CaseFile;
use crate::diff::Difference;
use crate::problem::Language;
use crate::routes::dossier::HistoryItem;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
    table{border-collapse:collapse;width:100%}th,td{border-top:1px solid #ccc;padding:.5rem;text-align:left;\
    vertical-align:top}code{font-size:.85em;overflow-wrap:anywhere}dt{font-weight:600}del{color:#a00}ins{color:#070;\
    text-decoration:none}li{overflow-wrap:anywhere}";

struct Words {
    language: &'static str,
    dossier: &'static str,
    status: &'static str,
    evidence: &'static str,
    covered: &'static str,
    columns: [&'static str; 6],
    nothing: &'static str,
}

const ENGLISH: Words = Words {
    language: "en",
    dossier: "Dossier",
    status: "Status",
    evidence: "Evidence",
    covered: "All of it is under the signed tree head of the log's first {size} events, signed on {at} by the key {key}, \
              whose root is {root}. README.txt says how to verify it.",
    columns: ["Version", "Recorded", "What happened", "By", "Why", "What changed"],
    nothing: "nothing",
};
const FRENCH: Words = Words {
    language: "fr",
    dossier: "Dossier",
    status: "État",
    evidence: "Preuve",
    covered: "Le tout est couvert par la tête d'arbre signée des {size} premiers événements du journal, signée le {at} \
              par la clé {key}, dont la racine est {root}. README.txt dit comment la vérifier.",
    columns: ["Version", "Enregistré", "Ce qui s'est passé", "Par", "Pourquoi", "Ce qui a changé"],
    nothing: "rien",
};

/// The report.
pub(super) fn html(case: &CaseFile) -> String {
    let words = match case.language {
        Language::English => &ENGLISH,
        Language::French => &FRENCH,
    };
    let head = &case.head.head;
    let covered = words
        .covered
        .replace("{size}", &head.size.to_string())
        .replace("{at}", &head.time())
        .replace("{key}", &case.head.key_id.to_string())
        .replace("{root}", &head.root.to_string());
    let rows: String = case.history.iter().map(|item| row(item, words)).collect();
    let headings: String = words.columns.iter().map(|column| format!("<th>{}", encode_safe(column))).collect();
    let title = encode_safe(&case.title);
    format!(
        "<!doctype html><html lang=\"{}\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1><dl><dt>{}<dd><code>{}</code><dt>{}<dd>{}<dt>{}<dd>{}</dl>\
         <table><thead><tr>{headings}</thead><tbody>{rows}</tbody></table></html>\n",
        words.language,
        encode_safe(words.dossier),
        case.id,
        encode_safe(words.status),
        shown(&serde_json::to_value(case.status).unwrap_or_default(), words),
        encode_safe(words.evidence),
        encode_safe(&covered),
    )
}

fn row(item: &HistoryItem, words: &Words) -> String {
    let role = shown(&serde_json::to_value(item.actor.role).unwrap_or_default(), words);
    let why: Vec<_> = item.reasons().iter().map(|reason| encode_safe(reason).into_owned()).collect();
    let changes: String = item.changes.iter().map(|change| changed(change, words)).collect();
    format!(
        "<tr><td>{}<td><code>{}</code><td>{}<td>{role} <code>{}</code><td>{}<td><ul>{changes}</ul>",
        item.version,
        item.at.format("%Y-%m-%d %H:%M:%S%.3f UTC"),
        encode_safe(&item.r#type),
        item.actor.id,
        why.join("<br>"),
    )
}

fn changed(change: &Difference, words: &Words) -> String {
    let mut line = String::new();
    let pointer = encode_safe(&change.pointer);
    let (from, to) = (shown(&change.from, words), shown(&change.to, words));
    // Writing to a text cannot fail.
    write!(line, "<li><code>{pointer}</code>: <del>{from}</del> → <ins>{to}</ins>").ok();
    line
}

/// A value, harmless.
fn shown(value: &Value, words: &Words) -> String {
    match value {
        Value::Null => encode_safe(words.nothing).into_owned(),
        Value::String(text) => encode_safe(text).into_owned(),
        other => encode_safe(&other.to_string()).into_owned(),
    }
}
