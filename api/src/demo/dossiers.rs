//! The dossiers of the demonstration: each goes its own way through the commands, to one of the states.

use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Value, json};

use super::DemoError;
use super::client::{Client, Person};
use super::people::Cast;

/// Dossiers made at once.
const AT_ONCE: usize = 8;

const SUBJECTS: [(&str, &str, &str); 8] = [
    ("logement", "Demande de logement social", "Un T3 proche des écoles ; nous sommes quatre dans un T2."),
    ("formation", "Financement d'une formation d'aide-soignante", "Dix mois à l'IFAS, à partir de septembre."),
    ("emploi", "Aide à la création d'entreprise", "Un atelier de réparation de vélos, bail en cours de signature."),
    (
        "culture",
        "Subvention pour un festival de quartier",
        "Trois jours de concerts gratuits, 1 500 personnes attendues.",
    ),
    ("association", "Agrément de l'association sportive", "Un club de handball ouvert aux jeunes du canton."),
    ("mobilité", "Aide au permis de conduire", "Indispensable pour un apprentissage en zone rurale."),
    ("santé", "Prise en charge d'un appareillage auditif", "Devis et prescription joints au dossier."),
    ("logement", "Aide aux travaux d'isolation", "Combles et fenêtres d'une maison de 1974."),
];
const TOWNS: [&str; 10] =
    ["Nantes", "Lille", "Grenoble", "Rennes", "Pau", "Dijon", "Le Havre", "Bastia", "Nîmes", "Saint-Denis"];

/// One command on the way.
enum Step {
    Owner(&'static str, Value),
    Pro(&'static str, Value),
    Edit(Value),
    Discard,
}

/// Makes `count` dossiers; answers with the id of one that has come to a decision.
///
/// # Errors
/// [`DemoError`] when the API refuses a command.
pub async fn make(client: &Client, cast: &Cast, count: u32, bar: &ProgressBar) -> Result<Option<String>, DemoError> {
    let made = stream::iter(0..count as usize).map(|n| async move {
        let made = make_one(client, cast, n).await;
        bar.inc(1);
        made
    });
    let ids: Vec<Option<String>> = made.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(ids.into_iter().flatten().next())
}

/// Makes one; answers with its id when it was reopened and decided again, which makes a history worth reading.
async fn make_one(client: &Client, cast: &Cast, n: usize) -> Result<Option<String>, DemoError> {
    let owner = &cast.applicants[n % cast.applicants.len()];
    let pro = &cast.pros[(n / 3) % cast.pros.len()];
    let (category, subject, description) = SUBJECTS[(n / 5) % SUBJECTS.len()];
    let title = format!("{subject} – {}", TOWNS[n % TOWNS.len()]);
    let people = 1 + n % 5;
    let fields = json!({ "foyer.personnes": people, "ville": TOWNS[n % TOWNS.len()], "logement.pieces": people + 1 });
    let body = json!({ "title": title, "category": category, "description": description, "fields": fields });
    let key = format!("demo-dossier-{n}");
    let created = client.command(owner, Method::POST, "/api/dossiers", &key, body).await?;
    let id = created["id"].as_str().unwrap_or_default().to_owned();
    for (number, step) in way(n).into_iter().enumerate() {
        take(client, owner, pro, &id, &format!("{key}-{number}"), step).await?;
    }
    Ok((n % 12 == REOPENED).then_some(id))
}

async fn take(client: &Client, owner: &Person, pro: &Person, id: &str, key: &str, step: Step) -> Result<(), DemoError> {
    let path = format!("/api/dossiers/{id}");
    let (person, method, path, body) = match step {
        Step::Owner(command, body) => (owner, Method::POST, format!("{path}/{command}"), body),
        Step::Pro(command, body) => (pro, Method::POST, format!("{path}/{command}"), body),
        Step::Edit(body) => (owner, Method::PUT, path, body),
        Step::Discard => (owner, Method::DELETE, path, json!({})),
    };
    client.command(person, method, &path, key, body).await?;
    Ok(())
}

/// The way whose end is a decision that was taken back once.
const REOPENED: usize = 9;

/// The commands that follow the creation of the `n`th dossier.
fn way(n: usize) -> Vec<Step> {
    use Step::{Discard, Edit, Owner, Pro};
    let submit = || Owner("submit", json!({}));
    let review = || Pro("start-review", json!({}));
    let request = || {
        let message = "Il manque l'avis d'imposition de l'an dernier.";
        Pro("request-changes", json!({ "reason": "incomplete", "message": message }))
    };
    let accept = || Pro("accept", json!({ "motivation": "Les conditions sont réunies." }));
    let refuse = || Pro("refuse", json!({ "motivation": "Les ressources dépassent le plafond." }));
    let mend = || Edit(json!({ "description": "L'avis d'imposition est joint ; le reste est inchangé." }));
    match n % 12 {
        0 => vec![Edit(json!({ "title": "Demande en préparation" }))],
        1 => vec![submit()],
        2 => vec![submit(), review()],
        3 => vec![submit(), review(), request()],
        4 => vec![submit(), request(), mend(), submit()],
        5 => vec![submit(), review(), accept()],
        6 => vec![submit(), review(), refuse()],
        7 => vec![submit(), review(), Pro("close", json!({ "motivation": "Le demandeur a déménagé." }))],
        8 => vec![submit(), Owner("withdraw", json!({ "reason": "J'ai trouvé une autre solution." }))],
        REOPENED => {
            let reopen = Pro("reopen", json!({ "reason": "Une pièce nouvelle change l'appréciation." }));
            vec![submit(), review(), request(), mend(), submit(), review(), refuse(), reopen, accept()]
        }
        10 => vec![submit(), review(), accept(), Owner("archive", json!({}))],
        _ => vec![Discard],
    }
}
