//! One's own data, taken out: everything that the system holds about a person, as JSON files in a ZIP.

use axum::body::Body;
use domain::Aggregate;
use domain::comment::Comment;
use domain::dossier::Dossier;
use domain::post::Post;
use event_store::{StoreError, StreamId};
use futures::FutureExt;
use futures::future::BoxFuture;
use projections::dossier::{self, DossierCursor, DossierFilter, DossierSort, Narrowing, SortKey, Visible};
use projections::organization::{self, OrganizationRow};
use projections::{Models, Scope, live, post};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::accesses::{self, Access, AccessAction, AccessCursor, AccessFilter};
use crate::app::App;
use crate::archive::{Archive, Unwanted};
use crate::extract::Order;
use crate::problem::Problem;
use crate::routes::{account, dossier as dossiers};

/// Rows read at once.
const CHUNK: u32 = 200;
const ABOUT: &str = include_str!("about.txt");

/// What ends an export before its end.
enum Ended {
    Failed(Problem),
    Unwanted,
}

impl<E: Into<Problem>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Sends the caller all that is theirs.
///
/// # Errors
/// A 403 when the log-in is not fresh, a 503 when the store does not answer, a 504 when read models lag.
pub async fn export(app: &App, order: &Order) -> Result<Body, Problem> {
    order.caller.proved_lately(app).await?;
    let person = order.caller.id();
    let head = app.store().head().await?;
    let deadline = order.patience(app.longest_wait());
    for projection in ["dossier", "post", "live", "organization"] {
        await_projection(app, projection, head, deadline).await?;
    }
    let export = Access::new(AccessAction::Export, order.info()).by(person);
    app.accesses().record(export.with(json!({ "organizationId": order.caller.actor.organization }))).await?;
    let (archive, body) = Archive::new();
    let (app, models) = (app.clone(), app.models(&order.caller.actor));
    tokio::spawn(async move {
        let export = Export { app, person, models, archive };
        if let Err(Ended::Failed(problem)) = export.write().await {
            tracing::warn!(%problem, "an export was cut off");
        }
    });
    Ok(body)
}

/// What was done up to `head` is to be in it.
async fn await_projection(app: &App, projection: &str, head: u64, deadline: Instant) -> Result<(), Problem> {
    let checkpoint = || async {
        let lowest = "select coalesce(min(position), 0) from checkpoints where projection = $1";
        let position: i64 = sqlx::query_scalar(lowest).bind(projection).fetch_one(app.reads()).await?;
        Ok(((), position.cast_unsigned().into()))
    };
    app.positions().read(projection, Scope::All, head, deadline, checkpoint).await?;
    Ok(())
}

struct Export {
    app: App,
    person: Uuid,
    /// The read models, as the person sees them.
    models: Models,
    archive: Archive,
}

impl Export {
    async fn write(self) -> Result<(), Ended> {
        self.add("README.txt", ABOUT.as_bytes().to_vec()).await?;
        self.account().await?;
        if let Some(avatar) = self.app.avatars().of(self.app.vault(), self.person).await? {
            self.add("avatar.jpg", avatar.image).await?;
        }
        self.accesses().await?;
        self.dossiers().await?;
        self.posts().await?;
        self.comments().await?;
        self.likes().await?;
        self.registrations().await?;
        self.organizations().await?;
        self.archive.end().await.map_err(|Unwanted| Ended::Unwanted)
    }

    async fn add(&self, name: impl Into<String>, content: Vec<u8>) -> Result<(), Ended> {
        self.archive.add(name, content).await.map_err(|Unwanted| Ended::Unwanted)
    }

    async fn add_json(&self, name: impl Into<String>, value: &impl Serialize) -> Result<(), Ended> {
        let json = serde_json::to_vec_pretty(value).map_err(|error| StoreError::Invalid(error.to_string()))?;
        self.add(name, json).await
    }

    async fn account(&self) -> Result<(), Ended> {
        let (auth, vault) = (self.app.auth(), self.app.vault());
        let user = account::user(&self.app, self.person).await?;
        let sessions = auth.sessions.of(vault, self.person).await?;
        let sessions: Vec<_> = sessions
            .into_iter()
            .map(|session| {
                json!({
                    "client": session.client, "createdAt": session.created_at, "lastUsedAt": session.last_used_at,
                })
            })
            .collect();
        let tokens = auth.api_tokens.of(vault, self.person).await?;
        let tokens: Vec<_> = tokens.into_iter().map(|token| json!({
            "name": token.name, "scopes": token.scopes, "createdAt": token.created_at, "expiresAt": token.expires_at,
        })).collect();
        self.add_json("account.json", &json!({ "user": user, "sessions": sessions, "apiTokens": tokens })).await
    }

    async fn accesses(&self) -> Result<(), Ended> {
        let filter = AccessFilter { account: Some(self.person), ..AccessFilter::default() };
        let mut after = None;
        for page in 1.. {
            let mut items = accesses::list(self.app.reads(), self.app.vault(), &filter, after, CHUNK).await?;
            let Some(last) = items.last() else { break };
            after = Some(AccessCursor(last.id));
            items.iter_mut().for_each(|access| access.hide_from(self.person));
            self.add_json(format!("accesses/{page}.json"), &items).await?;
        }
        Ok(())
    }

    async fn dossiers(&self) -> Result<(), Ended> {
        let mut after: Option<DossierCursor> = None;
        loop {
            let filter = DossierFilter {
                visible: Visible::To { user: self.person, reviews_for: None },
                narrowing: Narrowing::default(),
                sort: DossierSort { key: SortKey::CreatedAt, descending: false },
                after,
                limit: CHUNK,
            };
            let (page, _) = dossier::list(&self.models, &filter).await?;
            for row in page.items {
                let id = row.id;
                let history = dossiers::whole_history(&self.app, id).await?;
                let shown = self.app.vault().reveal(&[(StreamId { aggregate_type: Dossier::TYPE, id }, row)]).await?;
                self.add_json(format!("dossiers/{id}/dossier.json"), &shown.first()).await?;
                self.add_json(format!("dossiers/{id}/history.json"), &history).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn posts(&self) -> Result<(), Ended> {
        let read = |after| post::posts_of(&self.models, self.person, after, CHUNK).boxed();
        self.pages("posts", Some(Post::TYPE), read, |row| row.id).await
    }

    async fn comments(&self) -> Result<(), Ended> {
        let read = |after| post::comments_of(&self.models, self.person, after, CHUNK).boxed();
        self.pages("comments", Some(Comment::TYPE), read, |row| row.id).await
    }

    async fn likes(&self) -> Result<(), Ended> {
        let read = |after| post::likes_of(&self.models, self.person, after, CHUNK).boxed();
        self.pages("likes", None, read, |row| row.post_id).await
    }

    async fn registrations(&self) -> Result<(), Ended> {
        let read = |after| live::registrations_of(&self.models, self.person, after, CHUNK).boxed();
        self.pages("registrations", None, read, |row| row.live_id).await
    }

    async fn organizations(&self) -> Result<(), Ended> {
        let mut after = None;
        for page in 1.. {
            let (found, _) = organization::list_of(&self.models, self.person, after, CHUNK).await?;
            if found.items.is_empty() {
                break;
            }
            let item = |row: &OrganizationRow| json!({ "id": row.id, "name": row.name, "role": row.role });
            let items: Vec<_> = found.items.iter().map(item).collect();
            self.add_json(format!("organizations/{page}.json"), &items).await?;
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// A folder of pages; `sealed` names the aggregate that sealed what is personal in its rows.
    async fn pages<'a, T: Serialize + Send + Sync>(
        &self,
        folder: &str,
        sealed: Option<&'static str>,
        read: impl Fn(Uuid) -> BoxFuture<'a, Result<Vec<T>, sqlx::Error>>,
        id: fn(&T) -> Uuid,
    ) -> Result<(), Ended> {
        let mut after = Uuid::nil();
        for page in 1.. {
            let rows = read(after).await?;
            let Some(last) = rows.last() else { break };
            after = id(last);
            let name = format!("{folder}/{page}.json");
            match sealed {
                None => self.add_json(name, &rows).await?,
                Some(aggregate_type) => {
                    let stream = |row: &T| StreamId { aggregate_type, id: id(row) };
                    let documents: Vec<_> = rows.iter().map(|row| (stream(row), row)).collect();
                    self.add_json(name, &self.app.vault().reveal(&documents).await?).await?;
                }
            }
        }
        Ok(())
    }
}
