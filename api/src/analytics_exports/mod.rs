//! Tables as files, for those that are too large to wait for: asked for, made in the background, and taken when they
//! are there. A process that dies leaves its own to the others.

mod making;

use std::path::PathBuf;
use std::sync::OnceLock;

use chrono::{DateTime, NaiveDate, Utc};
use domain::Actor;
use object_store::path::Path;
use reqwest::Url;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::object_place::{self, ObjectPlace};
use crate::problem::{Problem, codes};
use crate::table::{Format, Order};

pub use making::{keep_making, make};

/// Exports of one analyst that are made at once.
const AT_ONCE: i64 = 3;
/// Exports that are listed.
const LISTED: i64 = 100;

/// What is known of an export: its manifest.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Its id.
    pub id: Uuid,
    /// Which read model.
    pub read_model: String,
    /// In which form: `json`, `ndjson`, `csv` or `parquet`.
    pub format: String,
    /// The first day, of those read models that have days.
    #[serde(rename = "from")]
    pub first_day: NaiveDate,
    /// The last day, of the same.
    #[serde(rename = "to")]
    pub last_day: NaiveDate,
    /// `running`, `finished` or `failed`.
    pub status: String,
    /// How many rows it has, once it is finished.
    pub rows: Option<i64>,
    /// How many bytes.
    pub bytes: Option<i64>,
    /// Their SHA-256, in hexadecimal.
    pub sha256: Option<String>,
    /// How far the read model was.
    pub position: Option<i64>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// How often it was begun.
    #[serde(skip)]
    pub attempt: i32,
    #[serde(skip)]
    owner_id: Uuid,
    #[serde(skip)]
    organization_id: Uuid,
}

impl Export {
    /// Its form.
    pub fn format(&self) -> Format {
        Format::OTHERS.into_iter().find(|format| format.extension() == self.format).unwrap_or(Format::Json)
    }

    /// What it is called.
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.read_model, self.format)
    }

    /// Where it is, of all attempts the one that was finished.
    pub fn path(&self, prefix: &Path) -> Path {
        self.path_of(self.attempt, prefix)
    }

    fn path_of(&self, attempt: i32, prefix: &Path) -> Path {
        prefix.clone().join(self.id.to_string()).join(format!("{attempt}-{}", self.file_name()))
    }
}

/// Where exports are kept.
pub struct ExportPlace {
    url: Url,
    opened: OnceLock<ObjectPlace>,
}

impl ExportPlace {
    /// The place that the settings say.
    pub fn at(url: Url) -> Self {
        Self { url, opened: OnceLock::new() }
    }

    /// The same, opened when it is first needed.
    ///
    /// # Errors
    /// A 503 when there is no such place.
    pub fn open(&self) -> Result<&ObjectPlace, Problem> {
        if let Some(place) = self.opened.get() {
            return Ok(place);
        }
        let place = object_place::open(&self.url).ok_or_else(|| {
            tracing::error!("CAPITUNE_EXPORTS cannot be written to");
            Problem::new(&codes::EXPORTS_UNAVAILABLE).with_retry_after(60)
        })?;
        Ok(self.opened.get_or_init(|| place))
    }

    /// The directory that it is, if it is one.
    pub fn directory(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok())?
    }
}

/// Asks for a table as a file; whether it was this request that did, of several at once with one key.
///
/// # Errors
/// A 429 when several of this analyst's are still being made.
pub async fn ask(app: &App, id: Uuid, order: &Order) -> Result<(Export, bool), Problem> {
    let Actor { id: owner, organization, .. } = order.reader;
    let ask = "insert into analytics_exports (id, owner_id, organization_id, read_model, format, first_day, last_day)
        select $1, $2, $3, $4, $5, $6, $7
        where (select count(*) from analytics_exports where owner_id = $2 and status = 'running') < $8
        on conflict (id) do nothing returning *";
    let asked = sqlx::query_as(ask)
        .bind(id)
        .bind(owner)
        .bind(organization)
        .bind(order.model.name)
        .bind(order.format.extension())
        .bind(order.asked.first)
        .bind(order.asked.last)
        .bind(AT_ONCE);
    if let Some(export) = asked.fetch_optional(app.writes()).await? {
        return Ok((export, true));
    }
    let known = one(app.writes(), owner, id).await;
    known.map(|known| (known, false)).map_err(|_| Problem::new(&codes::EXPORTS_TOO_MANY).with_retry_after(10))
}

/// The last exports of an analyst, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn of(pool: &PgPool, owner: Uuid) -> Result<Vec<Export>, sqlx::Error> {
    let of = "select * from analytics_exports where owner_id = $1 order by id desc limit $2";
    sqlx::query_as(of).bind(owner).bind(LISTED).fetch_all(pool).await
}

/// One export of an analyst.
///
/// # Errors
/// A 404 when it is nobody's, or somebody else's.
pub async fn one(pool: &PgPool, owner: Uuid, id: Uuid) -> Result<Export, Problem> {
    let one = "select * from analytics_exports where owner_id = $1 and id = $2";
    let export = sqlx::query_as(one).bind(owner).bind(id).fetch_optional(pool).await?;
    export.ok_or_else(|| Problem::new(&codes::EXPORT_NOT_FOUND))
}
