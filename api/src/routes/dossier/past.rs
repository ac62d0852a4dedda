//! Lists of dossiers as they were, for auditors: which there were then, and each folded from its own stream.

use domain::dossier::Dossier;
use domain::{Action, EventEnvelope};
use futures::{StreamExt, TryStreamExt, stream};
use projections::dossier::DossierRow;
use projections::past::{self, Moment, Past, PastCursor, PastFilter};
use projections::{Projection, Scope};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::queries::{ListDossiers, Sort};
use super::view::{Sight, show, stream as stream_of};
use crate::accesses::{Access, AccessAction};
use crate::answer::QueryAnswer;
use crate::app::App;
use crate::error::not_found;
use crate::extract::{Cursor, Page, QueryRequest, invalid_parameter};
use crate::problem::Problem;

/// Streams read at once for a page.
const AT_ONCE: usize = 4;

/// One page of the dossiers that there were at the moment that the request names.
///
/// # Errors
/// A 403 to all but auditors, a 422 when two moments are named or another order than that of creation.
pub(super) async fn list(
    app: &App,
    request: &QueryRequest<ListDossiers>,
) -> Result<QueryAnswer<Page<Box<RawValue>>>, Problem> {
    request.caller.may(Action::ReadLog)?;
    let ListDossiers { sort, limit, cursor, as_of, at_position, .. } = &request.parameters;
    let narrowing = request.parameters.narrowing();
    let moment = match (as_of, at_position) {
        (Some(_), Some(_)) => return Err(invalid_parameter("asOf", "excludes atPosition")),
        (Some(time), None) => Moment::Time(*time),
        (None, Some(position)) if i64::try_from(*position).is_ok() => Moment::Position(*position),
        (None, _) => return Err(invalid_parameter("atPosition", "is beyond every log")),
    };
    let descending = match sort {
        None | Some(Sort::CreatedAtDescending) => true,
        Some(Sort::CreatedAt) => false,
        Some(_) => return Err(invalid_parameter("sort", "must be createdAt or -createdAt for a list of the past")),
    };
    let cursors = Cursor::of(app.vault(), "past", &(moment, &narrowing, descending), request.caller.id());
    let filter = PastFilter {
        moment,
        narrowing,
        descending,
        after: cursor.as_ref().map(|cursor| cursors.open::<PastCursor>(cursor)).transpose()?,
        limit: limit.0,
    };
    // What was recorded up to the moment is to be in it, whether or not the client knows of it.
    let head = app.store().head().await?;
    let wanted = match moment {
        Moment::Position(position) => position.min(head),
        Moment::Time(_) => head,
    };
    app.positions().wait(Past::NAME, Scope::All, wanted, request.deadline).await?;
    let models = app.models(&request.caller.actor);
    let (page, reached) = app.read(Past::NAME, Scope::All, request, || past::list(&models, &filter)).await?;
    let read = Access::new(AccessAction::Read, &request.info).by(request.caller.id());
    app.accesses().record(read.with(json!({ "of": "dossiers", "at": moment }))).await?;
    let rows = stream::iter(page.ids).map(|id| at(app, id, moment)).buffered(AT_ONCE);
    let rows: Vec<DossierRow> = rows.try_collect().await?;
    let items = show(app, rows.into_iter().map(|row| (row, Sight::Whole)).collect()).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}

/// The dossier at the moment, from its own stream.
async fn at(app: &App, id: Uuid, moment: Moment) -> Result<DossierRow, Problem> {
    let events = app.store().read_stream(stream_of(id), 0).await?;
    let was = |event: &&EventEnvelope| match moment {
        Moment::Time(time) => event.recorded_at <= time,
        Moment::Position(position) => event.position <= position,
    };
    DossierRow::fold(events.iter().take_while(was))?.ok_or_else(not_found::<Dossier>)
}
