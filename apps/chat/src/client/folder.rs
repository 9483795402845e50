//! What a client keeps: who it is, what has come, what is on its way. A client that is killed and started again is the same.
//!
//! `identity.txt` is its name, its registration and, once it is registered, the id of the server's log; `received.txt` has a line for each message that has come, the last of
//! which tells its position; `outbox.txt` what was written and has no receipt yet. They are not waited for until they are on
//! the disk: a kill loses nothing of them, a machine that loses its power may.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use uuid::Uuid;

use super::received::Received;
use crate::{
    message::{ClientId, Message, check_name},
    text::{escaped, read_time, time, unescaped},
};

const IDENTITY: &str = "identity.txt";
const OUTBOX: &str = "outbox.txt";
const RECEIVED: &str = "received.txt";
/// An outbox that is empty is written anew from this size on.
const OUTBOX_BYTES_MAX: u64 = 1 << 20;

/// All of it.
pub struct Folder {
    /// Who it is.
    pub name: String,
    /// What makes the name this client's.
    pub registration: Uuid,
    /// The log that it is registered in, if it is.
    pub log: Option<Uuid>,
    /// What has come.
    pub received: Received,
    /// What has no receipt.
    pub outbox: Outbox,
    path: PathBuf,
    /// The registration was made now.
    is_new: bool,
    /// The folders that there were not, each in the next.
    made: Vec<PathBuf>,
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
    /// No client may be called so, and nothing is made; or it is somebody else's, in use, or cannot be read or written.
    pub fn open(folder: &Path, name: &str) -> anyhow::Result<Self> {
        check_name(name).with_context(|| format!("the name {name:?}"))?;
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made = folder.ancestors().take_while(is_missing);
        let made = made.map(Path::to_owned).collect();
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(IDENTITY);
        // Files of these names that are somebody else's are not touched.
        if identity(&path, name)?.is_none() {
            for file in [RECEIVED, OUTBOX].map(|file| folder.join(file)) {
                let is_empty = file.metadata().map_or(true, |file| file.len() == 0);
                ensure!(
                    is_empty,
                    "{}: this is no client's folder, as it has no {IDENTITY}: put that back, or take another --folder",
                    file.display()
                );
            }
        }
        let received = Received::open(folder.join(RECEIVED))?;
        // From now on nobody else makes it.
        let known = identity(&path, name)?;
        let (registration, log) = known.unwrap_or_else(|| (Uuid::new_v4(), None));
        if known.is_none() {
            replace(&path, &format!("{name} {registration}\n"))?;
        }
        let outbox = Outbox::open(folder.join(OUTBOX))?;
        Ok(Self {
            name: name.to_owned(),
            registration,
            log,
            received,
            outbox,
            path: folder.to_owned(),
            is_new: known.is_none(),
            made,
        })
    }

    /// Keeps in which log it is registered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_log(&mut self, log: Uuid) -> anyhow::Result<()> {
        if self.log.replace(log) == Some(log) {
            return Ok(());
        }
        let line = format!("{} {} {log}\n", self.name, self.registration);
        replace(&self.path.join(IDENTITY), &line)
    }

    /// Removes what was made for a name that was refused, unless it was there before (another server may know its
    /// registration), was registered, or something is in it. What cannot be removed stays.
    pub fn discard(self) {
        let is_empty = self.received.is_empty() && self.outbox.messages.is_empty();
        if !self.is_new || self.log.is_some() || !is_empty {
            return;
        }
        for file in [IDENTITY, OUTBOX, RECEIVED] {
            _ = std::fs::remove_file(self.path.join(file));
        }
        // Not those that somebody has put something into.
        for folder in self.made {
            _ = std::fs::remove_dir(folder);
        }
    }
}

/// The file is the old one or the new one, whenever the client is killed.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension("tmp");
    std::fs::write(&draft, text)
        .and_then(|()| std::fs::rename(&draft, path))
        .with_context(|| path.display().to_string())
}

/// The registration, and the log that it is in; none if there is no file.
fn identity(path: &Path, name: &str) -> anyhow::Result<Option<(Uuid, Option<Uuid>)>> {
    let told = || path.display().to_string();
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(told)?;
    let words: Vec<_> = text.split_whitespace().collect();
    let read = match words[..] {
        [name, id] => id.parse().ok().map(|id| (name, id, None)),
        [name, id, log] => id
            .parse()
            .ok()
            .and_then(|id| Some((name, id, Some(log.parse().ok()?)))),
        _ => None,
    };
    match read {
        Some((theirs, registration, log)) if theirs == name => Ok(Some((registration, log))),
        Some((theirs, ..)) => bail!(
            "{}: this folder is {theirs}'s: take another --folder, or --name {theirs}",
            told()
        ),
        None => bail!(
            "{}: this is no client's folder: take another --folder",
            told()
        ),
    }
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
        replace(&path, &lines)?;
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
    /// The file cannot be written, and the message is not kept.
    pub fn keep(&mut self, message: Outgoing) -> Result<(), (Outgoing, anyhow::Error)> {
        match self.append(&line(&message)) {
            Ok(()) => self.messages.push_back(message),
            Err(error) => return Err((message, error)),
        }
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
        let written = self.file.write_all(line.as_bytes());
        match written {
            Ok(()) => self.bytes += line.len() as u64,
            // Nothing is appended to a part of a line.
            Err(_) => _ = self.file.set_len(self.bytes),
        }
        written.with_context(|| self.path.display().to_string())
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
    use crate::message::Delivery;

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
            (again.registration, again.received.last().position),
            (registration, 2)
        );
        assert_eq!(*again.outbox.messages(), [outgoing(1), outgoing(3)]);
    }

    #[test]
    fn no_folder_is_made_for_a_name_that_is_none() {
        let place = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "a/b", "a b"] {
            let folder = place.path().join("chat").join(name);
            assert!(Folder::open(&folder, name).is_err(), "{name:?}");
            assert!(!place.path().join("chat").exists(), "{name:?}");
        }
    }

    #[test]
    fn what_was_made_for_nothing_is_removed_and_nothing_of_anybodys() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("chat").join("ana");
        let open = || Folder::open(&path, "ana").unwrap();
        open().discard();
        assert!(!place.path().join("chat").exists());
        // Somebody has put something beside it.
        let ana = open();
        std::fs::write(path.join("notes"), "mine").unwrap();
        ana.discard();
        assert!(path.join("notes").exists() && !path.join(IDENTITY).exists());
        // It was there before, and may be registered elsewhere.
        drop(open());
        let known = open();
        let registration = known.registration;
        known.discard();
        assert_eq!(open().registration, registration);
        std::fs::remove_file(path.join(IDENTITY)).unwrap();
        // It was registered, or a message waits.
        let mut ana = open();
        ana.keep_log(Uuid::max()).unwrap();
        ana.discard();
        assert_eq!(open().log, Some(Uuid::max()));
        std::fs::remove_dir_all(&path).unwrap();
        let mut ana = open();
        ana.outbox.keep(outgoing(1)).unwrap();
        ana.discard();
        assert_eq!(*open().outbox.messages(), [outgoing(1)]);
    }

    #[test]
    fn files_of_somebody_else_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        for name in [IDENTITY, OUTBOX, RECEIVED] {
            for text in ["mine, without an end", "mine\nand that"] {
                std::fs::write(folder.path().join(name), text).unwrap();
                let told = Folder::open(folder.path(), "ana").err().unwrap();
                let told = format!("{told:#}");
                assert!(
                    told.contains(name) && told.contains("no client's folder"),
                    "{told}"
                );
                let left = std::fs::read_to_string(folder.path().join(name)).unwrap();
                assert_eq!(left, text);
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
            }
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
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
