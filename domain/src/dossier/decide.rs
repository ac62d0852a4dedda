//! The decisions of a dossier: the transition table and its guards.

use uuid::Uuid;

use super::{Content, DossierCommand, DossierError, DossierEvent, Stage, edit};
use crate::personal::Personal;
use crate::rejection::check_text;

/// Row 1: only its creation can happen to what is not there.
pub(super) fn absent(command: DossierCommand) -> Result<Vec<DossierEvent>, DossierError> {
    let DossierCommand::Create { owner, organization, category, title, description, fields, at } = command else {
        return Err(DossierError::NotFound);
    };
    let (title, category) = (title.trim().to_owned(), category.trim().to_owned());
    edit::check(Some(&title), Some(&category), description.as_deref(), Some(&fields))?;
    let description = description.map(|text| Personal::new(owner, text));
    let fields = fields.into_iter().map(|(key, value)| (key, Personal::new(owner, value))).collect();
    Ok(vec![DossierEvent::Created { owner, organization, category, title, description, fields, at }])
}

/// The transition table, rows 2 to 12.
pub(super) fn created(
    content: &Content,
    revision: u32,
    stage: &Stage,
    command: DossierCommand,
) -> Result<Vec<DossierEvent>, DossierError> {
    use DossierCommand::*;
    if !stage.allowed().contains(&command.slug()) {
        return Err(stage.refuse(&command));
    }
    let owner = content.owner;
    let event = match command {
        Create { .. } => return Err(stage.refuse(&command)),
        Edit { title, category, description, fields, at } => {
            return content.edit(title, category, description, fields, at);
        }
        Submit { note, at } => {
            let note = optional(owner, "/note", note)?;
            if note.is_none() && matches!(stage, Stage::ChangesRequested { edited: false, .. }) {
                return Err(DossierError::NothingChanged);
            }
            DossierEvent::Submitted { revision: revision + 1, note, at }
        }
        StartReview { by, at } => {
            reviewing(owner, stage, by)?;
            DossierEvent::ReviewStarted { reviewer: by, at }
        }
        RequestChanges { reason, message, by, at } => {
            reviewing(owner, stage, by)?;
            let message = required(owner, "/message", message)?;
            DossierEvent::ChangesRequested { reason, message, by, at }
        }
        CancelChangeRequest { by, at } => {
            reviewing(owner, stage, by)?;
            DossierEvent::ChangeRequestCancelled { by, at }
        }
        Accept { .. } | Refuse { .. } | Close { .. } | Reopen { .. } => {
            return review(owner, stage, command);
        }
        Withdraw { reason, at } => DossierEvent::Withdrawn { reason: optional(owner, "/reason", reason)?, at },
        Discard { at } => DossierEvent::Discarded { at },
        Archive { by, at } => DossierEvent::Archived { by, at },
        Assign { pro, .. } if pro == owner => return Err(DossierError::OwnReview),
        Assign { pro, .. } if stage.reviewer() == Some(pro) => return Ok(vec![]),
        Assign { pro, by, at } => DossierEvent::Assigned { reviewer: pro, by, at },
    };
    Ok(vec![event])
}

/// Rows 7 and 8: what only the reviewer does.
fn review(owner: Uuid, stage: &Stage, command: DossierCommand) -> Result<Vec<DossierEvent>, DossierError> {
    use DossierCommand::*;
    let event = match command {
        Accept { motivation, by, at } => {
            reviewing(owner, stage, by)?;
            let motivation = optional(owner, "/motivation", motivation)?;
            DossierEvent::Accepted { motivation, by, at }
        }
        Refuse { motivation, by, at } => {
            reviewing(owner, stage, by)?;
            let motivation = required(owner, "/motivation", motivation)?;
            DossierEvent::Refused { motivation, by, at }
        }
        Close { motivation, by, at } => {
            reviewing(owner, stage, by)?;
            let motivation = required(owner, "/motivation", motivation)?;
            DossierEvent::Closed { motivation, by, at }
        }
        Reopen { reason, by, at } => {
            reviewing(owner, stage, by)?;
            let reason = required(owner, "/reason", reason)?;
            DossierEvent::ReviewReopened { reason, by, at }
        }
        other => return Err(stage.refuse(&other)),
    };
    Ok(vec![event])
}

/// Checks that `by` is the reviewer, or may become it.
fn reviewing(owner: Uuid, stage: &Stage, by: Uuid) -> Result<(), DossierError> {
    if by == owner {
        return Err(DossierError::OwnReview);
    }
    match stage.reviewer() {
        Some(reviewer) if reviewer != by => Err(DossierError::NotTheReviewer),
        _ => Ok(()),
    }
}

fn required(owner: Uuid, pointer: &str, text: String) -> Result<Personal<String>, DossierError> {
    let mut errors = vec![];
    check_text(&mut errors, pointer, &text, 1, 5_000);
    if errors.is_empty() { Ok(Personal::new(owner, text)) } else { Err(DossierError::Invalid(errors)) }
}

fn optional(owner: Uuid, pointer: &str, text: Option<String>) -> Result<Option<Personal<String>>, DossierError> {
    text.map(|text| required(owner, pointer, text)).transpose()
}
