//! How messages leave: by SMTP, or into the mailbox of a developer.

use std::time::Duration;

use chrono::Utc;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox as Address, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use uuid::Uuid;

use super::letter::Letter;
use super::mailbox::{KeptMessage, Mailbox};

/// How long a server may take to let us in.
const CONNECTING: Duration = Duration::from_secs(20);
/// How long it may take for a message in all.
const PATIENCE: Duration = Duration::from_secs(45);

/// How messages leave.
#[derive(Clone)]
pub enum Transport {
    /// By this SMTP server.
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// Into this mailbox.
    Mailbox(Mailbox),
}

/// Why a message did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// What kind of failure it was; never what a server said.
    pub class: &'static str,
    /// Whether it would fail again.
    pub permanent: bool,
}

/// A message on its way.
pub struct Outgoing<'a> {
    /// The account that it is written to.
    pub account: Uuid,
    /// Its name, the same however often it is tried.
    pub name: &'a str,
    /// From whom.
    pub from: &'a Address,
    /// To which address.
    pub to: &'a str,
    /// What it says.
    pub letter: Letter,
}

impl Transport {
    /// By the server at this URL: `smtp://`, `smtps://`, or `smtp://…?tls=required` for STARTTLS.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn smtp(url: &str) -> Result<Self, lettre::transport::smtp::Error> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.timeout(Some(CONNECTING)).build();
        Ok(Self::Smtp(Box::new(transport)))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Undelivered`] when that is not certain.
    pub async fn send(&self, outgoing: Outgoing<'_>) -> Result<(), Undelivered> {
        match self {
            Self::Smtp(smtp) => {
                let sending = tokio::time::timeout(PATIENCE, smtp.send(message(outgoing)?));
                let sent = sending.await.map_err(|_| Undelivered { class: "timeout", permanent: false })?;
                sent.map(drop).map_err(|error| undelivered(&error))
            }
            Self::Mailbox(mailbox) => keep(mailbox, outgoing),
        }
    }
}

fn message(outgoing: Outgoing<'_>) -> Result<Message, Undelivered> {
    let Outgoing { name, from, to, letter, .. } = outgoing;
    let refused = |class| Undelivered { class, permanent: true };
    let to = to.parse().map_err(|_| refused("address"))?;
    let domain = from.email.domain();
    let body = MultiPart::alternative_plain_html(letter.text, letter.html);
    let mut message = Message::builder()
        .from(from.clone())
        .to(Address::new(None, to))
        .subject(letter.subject)
        // The same each time, so that a message that was accepted twice is shown once.
        .message_id(Some(format!("<{name}@{domain}>")))
        .multipart(body)
        .map_err(|_| refused("content"))?;
    // No holiday notice answers it (RFC 3834).
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
    Ok(message)
}

fn undelivered(error: &lettre::transport::smtp::Error) -> Undelivered {
    // What it says of our own credentials (RFC 4954) says nothing of the message, and can be mended.
    let credentials = error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
    let class = match error {
        _ if credentials => "credentials",
        error if error.is_permanent() => "refused",
        error if error.is_transient() => "deferred",
        error if error.is_timeout() => "timeout",
        _ => "connection",
    };
    Undelivered { class, permanent: error.is_permanent() && !credentials }
}

fn keep(mailbox: &Mailbox, outgoing: Outgoing<'_>) -> Result<(), Undelivered> {
    let Outgoing { account, name, to, letter: Letter { subject, text, html }, .. } = outgoing;
    let message = KeptMessage { id: String::new(), at: Utc::now(), to: to.to_owned(), subject, text, html };
    mailbox.keep(account, name, message).map_err(|error| {
        tracing::warn!(%error, directory = %mailbox.directory().display(), "the mailbox cannot be written to");
        Undelivered { class: "mailbox", permanent: false }
    })
}
