//! Tables in the forms that analysts read, written while their rows come: memory does not grow with them.

mod csv;
mod json;
mod order;
mod parquet;

use axum::http::HeaderMap;
use projections::analytics::{Cell, ReadModel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::accepts;
pub use csv::Csv;
pub use json::object;
use json::{Json, Ndjson};
pub use order::{Order, Unfinished};
use parquet::Parquet;

/// A form that a table can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One document.
    Json,
    /// One document per line.
    Ndjson,
    /// Comma-separated values (RFC 4180), no cell of which is a formula.
    Csv,
    /// Apache Parquet, with types.
    Parquet,
}

impl Format {
    /// Every form but the first, which is what a client gets that asks for none.
    pub const OTHERS: [Self; 3] = [Self::Ndjson, Self::Csv, Self::Parquet];

    /// The form that a client asks for.
    pub fn wanted(headers: &HeaderMap) -> Self {
        Self::OTHERS.into_iter().find(|format| accepts(headers, format.media_type())).unwrap_or(Self::Json)
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Its name at the end of a file's.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// A table of this form.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be begun.
    pub fn table(self, model: &'static ReadModel) -> Result<Box<dyn Table>, TableError> {
        Ok(match self {
            Self::Json => Box::new(Json::begin(model)),
            Self::Ndjson => Box::new(Ndjson::begin(model)),
            Self::Csv => Box::new(Csv::begin(model.columns.iter().map(|column| column.name))?),
            Self::Parquet => Box::new(Parquet::begin(model)?),
        })
    }
}

/// A table that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("a table could not be written: {0}")]
pub struct TableError(String);

impl TableError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A table being written, into memory that is emptied as it goes.
pub trait Table: Send {
    /// Adds a row.
    ///
    /// # Errors
    /// [`TableError`] when it does not fit the columns.
    fn add(&mut self, row: Vec<Cell>) -> Result<(), TableError>;

    /// What was written since this was asked last.
    fn take(&mut self) -> Vec<u8>;

    /// How many bytes wait to be taken.
    fn waiting(&self) -> usize;

    /// The rest, once all rows were added.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be ended.
    fn end(self: Box<Self>) -> Result<Vec<u8>, TableError>;
}
