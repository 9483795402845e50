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

/// What somebody who registers is told: ids and positions mean something in that log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The id of the server's log.
    pub log: Uuid,
    /// Who it is there.
    pub client: ClientId,
}

/// The last message that a client has; the default: it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Last {
    /// Its position; 0 if there is none.
    pub position: u64,
    /// Its id.
    pub id: Uuid,
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

    /// For who comes from the log `theirs` to the log `ours`.
    pub(crate) fn other_log(theirs: Uuid, ours: Uuid) -> Self {
        Self(format!(
            "this server's log is {ours}, and you are registered in the log {theirs}: it is another server, or was started with another \
             folder. Nothing was sent or delivered, and what you wrote is kept: start the server with the folder that it had, or join \
             this one as somebody new, with another --folder"
        ))
    }

    /// For who has something of this log that is not in it.
    pub(crate) fn older_log() -> Self {
        Self(
            "the server's log does not have what you have of it: it is an older copy. Nothing was sent or delivered, and what you wrote is \
             kept: start the server with the newest log.txt, or join as somebody new, with another --name and --folder"
                .into(),
        )
    }
}

/// Whether a client may be called so: a name is a word of a line, and that of a folder.
///
/// # Errors
/// It may not, and why.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let is_good = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    match name.chars().count() {
        1..=NAME_CHARS_MAX if name.chars().all(is_good) && !name.starts_with('.') => Ok(()),
        _ => Err(Refused(format!(
            "a name has 1 to {NAME_CHARS_MAX} letters, digits, - _ or . and nothing else, and does not begin with a dot"
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
