//! What a client keeps: who it is, what has come, what is on its way. A client that is killed and started again is the same.
//!
//! `identity.txt` is its name and its registration; `received.txt` has a line for each message that has come, the last of
//! which tells its position; `outbox.txt` what was written and has no receipt yet. They are not waited for until they are on
//! the disk: a kill loses nothing of them, a machine that loses its power may.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use uuid::Uuid;

use crate::{
    message::{ClientId, Delivery, Message},
    text::{escaped, read_time, time, unescaped},
};

/// More than the longest line has.
const TAIL_BYTES: u64 = 64 << 10;
/// An outbox that is empty is written anew from this size on.
const OUTBOX_BYTES_MAX: u64 = 1 << 20;

/// All of it.
pub struct Folder {
    /// Who it is.
    pub name: String,
    /// What makes the name this client's.
    pub registration: Uuid,
    /// What has come.
    pub received: Received,
    /// What has no receipt.
    pub outbox: Outbox,
}

/// What has come.
pub struct Received {
    file: File,
    path: PathBuf,
    last: u64,
}

/// What has no receipt, in the order in which it was written.
pub struct Outbox {
    file: File,
    path: PathBuf,
    bytes: u64,
    messages: VecDeque<Outgoing>,
}

/// A message that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The same however often it is sent.
    pub id: Uuid,
    /// The addressee.
    pub to: ClientId,
    /// When it was written.
    pub at_ms: i64,
    /// What was written.
    pub text: String,
}

impl Folder {
    /// The folder of the client of that name, or a new one.
    ///
    /// # Errors
    /// It is somebody else's, in use, or cannot be read or written.
    pub fn open(folder: &Path, name: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let received = Received::open(folder.join("received.txt"))?;
        let registration = identity(&folder.join("identity.txt"), name)?;
        let outbox = Outbox::open(folder.join("outbox.txt"))?;
        Ok(Self {
            name: name.to_owned(),
            registration,
            received,
            outbox,
        })
    }
}

fn identity(path: &Path, name: &str) -> anyhow::Result<Uuid> {
    let told = || path.display().to_string();
    if !path.exists() {
        let registration = Uuid::new_v4();
        let draft = path.with_extension("tmp");
        std::fs::write(&draft, format!("{name} {registration}\n")).with_context(told)?;
        std::fs::rename(&draft, path).with_context(told)?;
        return Ok(registration);
    }
    let text = std::fs::read_to_string(path).with_context(told)?;
    let read = text
        .trim()
        .split_once(' ')
        .and_then(|(name, id)| Some((name, id.parse().ok()?)));
    match read {
        Some((theirs, registration)) if theirs == name => Ok(registration),
        Some((theirs, _)) => bail!(
            "{}: this folder is {theirs}'s: take another --folder, or --name {theirs}",
            told()
        ),
        None => bail!(
            "{}: this is no client's folder: take another --folder",
            told()
        ),
    }
}

impl Received {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let told = || path.display().to_string();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .with_context(told)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: this client runs already", told()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(told),
        }
        let length = file.metadata().with_context(told)?.len();
        let begin = length.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(begin)).with_context(told)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).with_context(told)?;
        let whole = tail
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        file.set_len(begin + whole as u64).with_context(told)?; // what is torn comes again
        let last = match tail[..whole].split(|byte| *byte == b'\n').rev().nth(1) {
            Some(line) => position(line)
                .with_context(|| format!("{}: its last line has no position", told()))?,
            None => 0,
        };
        Ok(Self { file, path, last })
    }

    /// The position of the last that has come; 0 if nothing has.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Keeps what has come.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        let Delivery {
            position,
            from_name,
            message,
        } = delivery;
        let line = format!(
            "{position} {} {} {from_name}: {}\n",
            time(message.at_ms),
            message.id,
            escaped(&message.text)
        );
        self.file
            .write_all(line.as_bytes())
            .with_context(|| self.path.display().to_string())?;
        self.last = *position;
        Ok(())
    }
}

fn position(line: &[u8]) -> Option<u64> {
    let word = line.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

impl Outbox {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let told = || path.display().to_string();
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.with_context(told)?,
        };
        let mut messages = VecDeque::new();
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.strip_suffix('\n'));
            let change = line
                .and_then(change)
                .with_context(|| format!("{}: a line of it is none of this program", told()))?;
            match change {
                Change::Written(message) => messages.push_back(message),
                Change::Receipted(id) => messages.retain(|message: &Outgoing| message.id != id),
            }
        }
        let lines: String = messages.iter().map(line).collect();
        let draft = path.with_extension("tmp");
        std::fs::write(&draft, &lines).with_context(told)?;
        std::fs::rename(&draft, &path).with_context(told)?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .with_context(told)?;
        Ok(Self {
            file,
            path,
            bytes: lines.len() as u64,
            messages,
        })
    }

    /// What has no receipt.
    #[must_use]
    pub fn messages(&self) -> &VecDeque<Outgoing> {
        &self.messages
    }

    /// Keeps what was written until there is a receipt.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, message: Outgoing) -> anyhow::Result<()> {
        self.append(&line(&message))?;
        self.messages.push_back(message);
        Ok(())
    }

    /// Takes out what has a receipt: where it was, and itself; none if there was a receipt before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn take(&mut self, id: Uuid) -> anyhow::Result<Option<(usize, Outgoing)>> {
        let Some(index) = self.messages.iter().position(|message| message.id == id) else {
            return Ok(None);
        };
        self.append(&format!("- {id}\n"))?;
        let message = self.messages.remove(index);
        if self.messages.is_empty() && self.bytes > OUTBOX_BYTES_MAX {
            self.file
                .set_len(0)
                .with_context(|| self.path.display().to_string())?;
            self.bytes = 0;
        }
        Ok(message.map(|message| (index, message)))
    }

    fn append(&mut self, line: &str) -> anyhow::Result<()> {
        self.bytes += line.len() as u64;
        self.file
            .write_all(line.as_bytes())
            .with_context(|| self.path.display().to_string())
    }
}

enum Change {
    Written(Outgoing),
    Receipted(Uuid),
}

fn line(message: &Outgoing) -> String {
    let Outgoing {
        id,
        to,
        at_ms,
        text,
    } = message;
    format!("+ {id} {to} {} {}\n", time(*at_ms), escaped(text))
}

fn change(line: &str) -> Option<Change> {
    let mut words = line.splitn(5, ' ');
    let (sign, id) = (words.next()?, words.next()?.parse().ok()?);
    if sign == "-" {
        return Some(Change::Receipted(id));
    }
    Some(Change::Written(Outgoing {
        id,
        to: ClientId(words.next()?.parse().ok()?),
        at_ms: read_time(words.next()?)?,
        text: unescaped(words.next()?)?,
    }))
}

impl Outgoing {
    /// As it travels.
    #[must_use]
    pub fn from(&self, client: ClientId) -> Message {
        let Self {
            id,
            to,
            at_ms,
            text,
        } = self.clone();
        Message {
            id,
            from: client,
            to,
            at_ms,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(id: u128) -> Outgoing {
        Outgoing {
            id: Uuid::from_u128(id),
            to: ClientId(2),
            at_ms: 0,
            text: "two\nlines".into(),
        }
    }

    fn delivery(position: u64) -> Delivery {
        Delivery {
            position,
            from_name: "ana".into(),
            message: outgoing(7).from(ClientId(1)),
        }
    }

    #[test]
    fn a_client_that_was_killed_is_the_same_and_knows_what_has_come_and_what_is_on_its_way() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Folder::open(folder.path(), "ben").unwrap();
        first.received.keep(&delivery(1)).unwrap();
        first.received.keep(&delivery(2)).unwrap();
        for id in [1, 2, 3] {
            first.outbox.keep(outgoing(id)).unwrap();
        }
        let (index, _) = first.outbox.take(Uuid::from_u128(2)).unwrap().unwrap();
        assert_eq!(index, 1);
        let registration = first.registration;
        drop(first);
        for file in ["received.txt", "outbox.txt"] {
            let path = folder.path().join(file);
            let whole = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, whole + "3 torn").unwrap();
        }
        let again = Folder::open(folder.path(), "ben").unwrap();
        assert_eq!(
            (again.registration, again.received.last()),
            (registration, 2)
        );
        assert_eq!(*again.outbox.messages(), [outgoing(1), outgoing(3)]);
    }

    #[test]
    fn a_folder_is_one_clients_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::open(folder.path(), "ben").unwrap();
        assert!(Folder::open(folder.path(), "ben").is_err());
        drop(first);
        assert!(Folder::open(folder.path(), "ana").is_err());
    }
}
