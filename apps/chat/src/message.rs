//! What everything here is about: clients, and messages between them.

use std::fmt;

use uuid::Uuid;

/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 32;

/// A client's number, unique at its server, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl ClientId {
    /// Its place in a list of all clients by id.
    #[must_use]
    pub(crate) fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Unique.
    pub id: ClientId,
    /// Unique too.
    pub name: String,
    /// When it has registered: Unix time in milliseconds.
    pub since_ms: i64,
}

/// What somebody who registers is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Who it is.
    pub client: ClientId,
    /// How many messages have come for it, ever: it cannot have more.
    pub arrived: u64,
}

/// From one client to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Made by the sender. The same id again is the same message again.
    pub id: Uuid,
    /// The sender.
    pub from: ClientId,
    /// The addressee.
    pub to: ClientId,
    /// When it was written, by the sender's clock: Unix time in milliseconds.
    pub at_ms: i64,
    /// Any text of 1 to [`TEXT_BYTES_MAX`] bytes.
    pub text: String,
}

/// A message on its way to its addressee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its place among all messages to the same client: 1, 2, 3 …
    pub position: u64,
    /// The sender's name.
    pub from_name: String,
    /// The message.
    pub message: Message,
}

/// What became of a message at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Of the message.
    pub id: Uuid,
    /// Why it was not taken; none if it is in the log, on the disk.
    pub refusal: Option<Refused>,
}

/// Why the server does not do what it is asked for: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    pub(crate) fn unknown(client: ClientId) -> Self {
        Self(format!(
            "there is no client {client} here: register first, or ask who there is"
        ))
    }
}

/// Whether a client may be called so.
///
/// # Errors
/// It may not, and why.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let is_good = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    match name.chars().count() {
        1..=NAME_CHARS_MAX if name.chars().all(is_good) => Ok(()),
        _ => Err(Refused(format!(
            "a name has 1 to {NAME_CHARS_MAX} letters, digits, - _ or . and nothing else"
        ))),
    }
}

/// Whether a message may have such a text.
///
/// # Errors
/// It may not, and why.
pub fn check_text(text: &str) -> Result<(), Refused> {
    match text.len() {
        1..=TEXT_BYTES_MAX => Ok(()),
        bytes => Err(Refused(format!(
            "a text has 1 to {TEXT_BYTES_MAX} bytes, and this one {bytes}"
        ))),
    }
}
