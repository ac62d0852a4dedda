//! What a handler asks of a request: everything about a command, everything about a query, strictly read.

mod accept;
mod body;
mod command;
mod fault;
mod id;
mod paging;
mod parameters;
mod precondition;
mod preferences;
mod query;

pub use accept::accepts;
pub use body::{given, read_body, strict_json};
pub use command::{CommandRequest, NoBody, Order, PublicRequest, UploadRequest};
pub use fault::escape;
pub use id::{Id, parse_id};
pub use paging::{Cursor, Limit, Page, Paging, same};
pub use parameters::{day, invalid as invalid_parameter, parse_position, time};
pub use precondition::Precondition;
pub use preferences::{PREFER, Preferences};
pub use query::{MIN_POSITION, NoParameters, PublicQuery, QueryRequest};
