//! Mail: what the log calls for, sent once to each recipient, by SMTP or into the mailbox of a developer.

mod compose;
mod letter;
pub mod link;
mod mailbox;
mod sender;
mod transport;

pub use mailbox::{KeptMessage, Mailbox, is_here};
pub use sender::{MailSender, keep_sending};
pub use transport::Transport;
