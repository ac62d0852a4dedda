//! Three things to try, one for each kind of reader.

use super::PASSWORD;
use super::client::{Client, Person};
use super::people::Cast;

/// Says what was made, and what to try with it.
pub fn print(client: &Client, cast: &Cast, decided: Option<&str>) {
    let base = client.base();
    println!("The system is filled. Everybody's password is {PASSWORD}; the tokens below are good for an hour.\n");
    if let Some(applicant) = cast.applicants.first() {
        println!("An applicant ({}) reads their dossiers:", applicant.email);
        println!("{}\n", curl(applicant, &format!("{base}/api/dossiers?limit=3")));
    }
    let history = match decided {
        Some(id) => format!("{base}/api/dossiers/{id}/history"),
        None => format!("{base}/api/audit/events?limit=5"),
    };
    println!("The auditor ({}) replays a decision that was taken back:", cast.auditor.email);
    println!("{}\n", curl(&cast.auditor, &history));
    println!("The analyst ({}) counts:", cast.analyst.email);
    println!("{}\n", curl(&cast.analyst, &format!("{base}/api/analytics/dossiersByStatus")));
    println!("Every route can be tried at {base}/docs.");
}

fn curl(person: &Person, url: &str) -> String {
    format!("  curl -H 'Authorization: Bearer {}' \\\n    '{url}'", person.token)
}
