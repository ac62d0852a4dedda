//! What the owner writes: the content of a dossier and its edits.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{DossierError, DossierEvent, FieldValue, fields};
use crate::change::Change;
use crate::personal::Personal;
use crate::rejection::check_text;

/// What the owner of a dossier wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The applicant it belongs to.
    pub owner: Uuid,
    /// The organisation it was created in.
    pub organization: Uuid,
    /// Its title.
    pub title: String,
    /// Its category.
    pub category: String,
    /// Its description.
    pub description: Option<Personal<String>>,
    /// Its free fields.
    pub fields: BTreeMap<String, Personal<FieldValue>>,
}

type FieldChanges = BTreeMap<String, Change<Option<Personal<FieldValue>>>>;

impl Content {
    /// The content of a dossier just created; nothing for any other event.
    pub(super) fn created(event: &DossierEvent) -> Option<Self> {
        let DossierEvent::Created { owner, organization, category, title, description, fields, .. } = event else {
            return None;
        };
        Some(Self {
            owner: *owner,
            organization: *organization,
            title: title.clone(),
            category: category.clone(),
            description: description.clone(),
            fields: fields.clone(),
        })
    }

    pub(super) fn edit(
        &self,
        title: Option<String>,
        category: Option<String>,
        description: Option<Option<String>>,
        fields: Option<BTreeMap<String, FieldValue>>,
        at: DateTime<Utc>,
    ) -> Result<Vec<DossierEvent>, DossierError> {
        let title = title.map(|text| text.trim().to_owned());
        let category = category.map(|text| text.trim().to_owned());
        let text = description.as_ref().and_then(Option::as_deref);
        check(title.as_deref(), category.as_deref(), text, fields.as_ref())?;

        let title = title.and_then(|new| Change::between(&self.title, new));
        let category = category.and_then(|new| Change::between(&self.category, new));
        let description = description
            .and_then(|new| Change::between(&self.description, new.map(|text| Personal::new(self.owner, text))));
        let fields = fields.map(|new| self.field_changes(new)).unwrap_or_default();
        if title.is_none() && category.is_none() && description.is_none() && fields.is_empty() {
            return Ok(vec![]);
        }
        Ok(vec![DossierEvent::Edited { title, category, description, fields, at }])
    }

    fn field_changes(&self, mut new: BTreeMap<String, FieldValue>) -> FieldChanges {
        let keys: BTreeSet<String> = self.fields.keys().chain(new.keys()).cloned().collect();
        keys.into_iter()
            .filter_map(|key| {
                let to = new.remove(&key).map(|value| Personal::new(self.owner, value));
                Change::between(&self.fields.get(&key).cloned(), to).map(|change| (key, change))
            })
            .collect()
    }

    pub(super) fn apply(&mut self, event: &DossierEvent) {
        let DossierEvent::Edited { title, category, description, fields, .. } = event else {
            return;
        };
        if let Some(change) = title {
            self.title.clone_from(&change.to);
        }
        if let Some(change) = category {
            self.category.clone_from(&change.to);
        }
        if let Some(change) = description {
            self.description.clone_from(&change.to);
        }
        for (key, change) in fields {
            match &change.to {
                Some(value) => self.fields.insert(key.clone(), value.clone()),
                None => self.fields.remove(key),
            };
        }
    }
}

/// Checks what is given; the texts are trimmed already where they are kept trimmed.
pub(super) fn check(
    title: Option<&str>,
    category: Option<&str>,
    description: Option<&str>,
    fields: Option<&BTreeMap<String, FieldValue>>,
) -> Result<(), DossierError> {
    let mut errors = vec![];
    if let Some(title) = title {
        check_text(&mut errors, "/title", title, 1, 200);
    }
    if let Some(category) = category {
        check_text(&mut errors, "/category", category, 1, 64);
    }
    if let Some(description) = description {
        check_text(&mut errors, "/description", description, 0, 10_000);
    }
    if let Some(fields) = fields {
        fields::check(&mut errors, fields);
    }
    if errors.is_empty() { Ok(()) } else { Err(DossierError::Invalid(errors)) }
}
