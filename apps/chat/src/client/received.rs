//! `received.txt`: what has come, a line each, in the order of positions.

use std::{
    cmp::Ordering,
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use uuid::Uuid;

use crate::{
    message::{Delivery, Last},
    text::{escaped, time},
};

/// More than the longest line of `received.txt` has.
const LINE_BYTES_MAX: u64 = 32 << 10;
const NOT_OURS: &str =
    "is none that this program has written: put back what it was, or remove that line";

/// What has come.
pub struct Received {
    file: File,
    path: PathBuf,
    bytes: u64,
    last: Last,
}

impl Received {
    /// What the file at `path` has, which is made unless it is there.
    ///
    /// # Errors
    /// It is in use, or cannot be read or written.
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
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
        // The last line, and a part of one.
        let begin = length.saturating_sub(2 * LINE_BYTES_MAX);
        file.seek(SeekFrom::Start(begin)).with_context(told)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).with_context(told)?;
        let whole = tail
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let line = tail[..whole].split(|byte| *byte == b'\n').rev().nth(1);
        let last = match line {
            None if begin == 0 => Some(Last::default()),
            line => line.and_then(of_line),
        };
        let last = last.with_context(|| format!("{}: its last line {NOT_OURS}", told()))?;
        let bytes = begin + whole as u64;
        file.set_len(bytes).with_context(told)?; // what is torn comes again
        Ok(Self {
            file,
            path,
            bytes,
            last,
        })
    }

    /// The last that has come.
    #[must_use]
    pub fn last(&self) -> Last {
        self.last
    }

    /// The id of what has come with this position; none if nothing has.
    ///
    /// # Errors
    /// The file cannot be read, or somebody has changed it.
    pub fn id_at(&self, position: u64) -> anyhow::Result<Option<Uuid>> {
        let told = || self.path.display().to_string();
        // Where lines begin: that of the position is between them, as they are in order.
        let (mut low, mut high) = (0, self.bytes);
        while low < high {
            let (begin, line) = self.line_with(low + (high - low) / 2).with_context(told)?;
            let there = of_line(&line)
                .with_context(|| format!("{}: the line at byte {begin} {NOT_OURS}", told()))?;
            match there.position.cmp(&position) {
                Ordering::Less => low = begin + line.len() as u64 + 1,
                Ordering::Equal => return Ok(Some(there.id)),
                Ordering::Greater => high = begin,
            }
        }
        Ok(None)
    }

    /// The line that has the byte `at`, without its end, and where it begins.
    fn line_with(&self, at: u64) -> std::io::Result<(u64, Vec<u8>)> {
        let first = at.saturating_sub(LINE_BYTES_MAX);
        let mut bytes = vec![0; (self.bytes - first).min(2 * LINE_BYTES_MAX) as usize];
        self.file.read_exact_at(&mut bytes, first)?;
        let (before, behind) = bytes.split_at((at - first) as usize);
        let is_end = |byte: &u8| *byte == b'\n';
        let begin = before.iter().rposition(is_end).map_or(0, |end| end + 1);
        let end = behind.iter().position(is_end).unwrap_or(behind.len());
        let line = bytes[begin..before.len() + end].to_vec();
        Ok((first + begin as u64, line))
    }

    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
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
            "{position} {} {} {}: {}\n",
            time(message.at_ms),
            message.id,
            escaped(from_name),
            escaped(&message.text)
        );
        self.file
            .write_all(line.as_bytes())
            .with_context(|| self.path.display().to_string())?;
        self.bytes += line.len() as u64;
        self.last = Last {
            position: *position,
            id: message.id,
        };
        Ok(())
    }
}

/// Of a line of `received.txt`.
fn of_line(line: &[u8]) -> Option<Last> {
    let mut words = std::str::from_utf8(line).ok()?.splitn(4, ' ');
    Some(Last {
        position: words.next()?.parse().ok()?,
        id: words.nth(1)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ClientId, Message, TEXT_BYTES_MAX};

    #[test]
    fn what_has_come_is_found_by_its_position() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Received::open(folder.path().join("received.txt")).unwrap();
        let mut received = open();
        let mut expected = Vec::new();
        for position in (1..300).filter(|position| position % 7 != 0) {
            let message = Message {
                id: Uuid::from_u128(u128::from(position)),
                from: ClientId(1),
                to: ClientId(2),
                at_ms: 0,
                text: "\u{1b}".repeat(position as usize * 13),
            };
            expected.push((position, message.id));
            let delivery = Delivery {
                position,
                from_name: "ana".into(),
                message,
            };
            received.keep(&delivery).unwrap();
        }
        drop(received);
        let received = open();
        let found: Vec<_> = (0..400)
            .filter_map(|position| Some((position, received.id_at(position).unwrap()?)))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_part_of_the_longest_line_behind_another_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("received.txt");
        let mut received = Received::open(path.clone()).unwrap();
        for position in [1, 2] {
            let message = Message {
                id: Uuid::from_u128(u128::from(position)),
                from: ClientId(1),
                to: ClientId(2),
                at_ms: 0,
                text: "\u{1b}".repeat(TEXT_BYTES_MAX),
            };
            let delivery = Delivery {
                position,
                from_name: "ana".into(),
                message,
            };
            received.keep(&delivery).unwrap();
        }
        let last = received.last();
        drop(received);
        let whole = std::fs::read(&path).unwrap();
        let torn = &whole[..whole.len() / 2 - 1];
        std::fs::write(&path, [&whole, torn].concat()).unwrap();
        assert_eq!(Received::open(path.clone()).unwrap().last(), last);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn nothing_is_cut_of_what_has_no_line_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("received.txt");
        let long = "x".repeat(3 * LINE_BYTES_MAX as usize);
        for text in ["mine\nand that", &long] {
            std::fs::write(&path, text).unwrap();
            let told = format!("{:#}", Received::open(path.clone()).err().unwrap());
            assert!(told.contains("its last line is none that"), "{told}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn each_that_has_come_is_one_line_whatever_it_says_of_its_sender() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("received.txt");
        let mut received = Received::open(path.clone()).unwrap();
        let delivery = Delivery {
            position: 1,
            from_name: "a\nb".into(),
            message: Message {
                id: Uuid::max(),
                from: ClientId(1),
                to: ClientId(2),
                at_ms: 0,
                text: "text".into(),
            },
        };
        received.keep(&delivery).unwrap();
        let last = received.last();
        drop(received);
        assert_eq!(Received::open(path).unwrap().last(), last);
    }
}
