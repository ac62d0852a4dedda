//! People, by their names alone: all that a query names are looked up together.

use std::collections::HashMap;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, Error, Result, SimpleObject};
use uuid::Uuid;

use super::error;
use crate::app::App;
use crate::auth::Caller;
use crate::routes::names;

/// What everyone may know of somebody.
#[derive(Debug, Clone, SimpleObject)]
pub struct Person {
    id: Uuid,
    /// Null once the account was erased.
    name: Option<String>,
}

/// Looks people up, many at once.
pub struct People {
    app: App,
    caller: Caller,
}

impl People {
    pub fn new(app: &App, caller: &Caller) -> Self {
        Self { app: app.clone(), caller: *caller }
    }
}

impl Loader<Uuid> for People {
    type Value = Person;
    type Error = Error;

    async fn load(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Person>> {
        let models = self.app.models(&self.caller.actor);
        let mut names = names(&self.app, &models, ids.iter().copied()).await.map_err(|problem| error(&problem))?;
        Ok(ids.iter().map(|id| (*id, Person { id: *id, name: names.remove(id) })).collect())
    }
}

/// Somebody.
pub async fn person(context: &Context<'_>, id: Uuid) -> Result<Option<Person>> {
    context.data_unchecked::<DataLoader<People>>().load_one(id).await
}
