//! The people of the demonstration.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::client::{Client, Person};
use super::{DemoError, PASSWORD};

const APPLICANTS: [&str; 12] = [
    "Camille Durand",
    "Inès Benali",
    "Théo Lefèvre",
    "Aïcha Traoré",
    "Lucas Moreau",
    "Jeanne Le Goff",
    "Mehdi Kaddour",
    "Élodie Garnier",
    "Nguyen Thi Mai",
    "Hugo Fontaine",
    "Sofia Martins",
    "Baptiste Roux",
];
const PROS: [&str; 3] = ["Claire Vasseur", "Julien Marchand", "Nadia Rahmani"];
const AUDITOR: &str = "Hélène Aubry";
const ANALYST: &str = "Marc Delorme";

/// After this time every process knows about new roles.
const ROLES_KNOWN: Duration = Duration::from_millis(1200);

/// Everybody, signed in.
pub struct Cast {
    /// Who own dossiers.
    pub applicants: Vec<Person>,
    /// Who review them.
    pub pros: Vec<Person>,
    /// Who replays their history.
    pub auditor: Person,
    /// Who counts them.
    pub analyst: Person,
}

impl Cast {
    /// Opens their accounts, or signs them in, and has the admin give them their roles.
    ///
    /// # Errors
    /// [`DemoError`] when the API refuses.
    pub async fn gather(client: &Client, admin: &Person) -> Result<Self, DemoError> {
        let mut applicants = Vec::new();
        for name in APPLICANTS {
            applicants.push(sign_up(client, name).await?);
        }
        let mut pros = Vec::new();
        for name in PROS {
            let pro = sign_up(client, name).await?;
            give(client, admin, &pro, "pro").await?;
            pros.push(pro);
        }
        let auditor = sign_up(client, AUDITOR).await?;
        give(client, admin, &auditor, "auditor").await?;
        let analyst = sign_up(client, ANALYST).await?;
        give(client, admin, &analyst, "analyst").await?;
        sleep(ROLES_KNOWN).await;
        Ok(Self { applicants, pros, auditor, analyst })
    }
}

async fn sign_up(client: &Client, name: &str) -> Result<Person, DemoError> {
    client.sign_up(&format!("{}@demo.capitune.local", address(name)), PASSWORD, name).await
}

async fn give(client: &Client, admin: &Person, person: &Person, role: &str) -> Result<(), DemoError> {
    let path = format!("/api/admin/users/{}/roles", person.id);
    let roles = json!({ "roles": ["applicant", role] });
    client.command(admin, Method::PUT, &path, &format!("demo-role-{}", person.id), roles).await?;
    Ok(())
}

/// `Élodie Garnier` as `elodie.garnier`.
fn address(name: &str) -> String {
    let plain = |c: char| match c {
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'à' | 'â' => 'a',
        'ï' | 'î' => 'i',
        'ô' => 'o',
        'ç' => 'c',
        ' ' => '.',
        other => other,
    };
    name.to_lowercase().chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain() {
        for name in APPLICANTS.into_iter().chain(PROS).chain([AUDITOR, ANALYST]) {
            assert!(address(name).bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.'), "{name}");
        }
    }
}
