//! The file: read from its beginning, cut where it is torn, appended to, and read again at any line.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{BufRead, BufReader, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use uuid::Uuid;

use super::line::{self, Entry};
use crate::text::{complain, now_ms};

/// What the file in a server's folder is called.
pub const NAME: &str = "log.txt";

/// The end of the file, where one thread appends.
pub struct Appender {
    file: Arc<File>,
    path: PathBuf,
    length: u64,
    id: Uuid,
}

/// Reads single lines of the file, from any thread.
#[derive(Clone)]
pub struct Reader(Arc<File>);

/// Opens the log in `folder`, or makes both, and gives each entry and where its line begins to `each`. A log without an id
/// gets one.
///
/// What is behind the last end of a line is cut off, and told on the standard error. It may be a whole line but for its end:
/// whoever waited for it has no receipt, as one leaves only when all that was appended is on the disk.
///
/// # Errors
/// It cannot be opened, another server has it, or a line of it is none of ours.
pub fn open(
    folder: &Path,
    mut each: impl FnMut(Entry, u64) -> anyhow::Result<()>,
) -> anyhow::Result<(Appender, Reader)> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let path = folder.join(NAME);
    let told = || format!("{}", path.display());
    let options = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(&path);
    let file = options.with_context(told)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "{}: another server writes it: end that one, or take another --folder",
            told()
        ),
        Err(TryLockError::Error(error)) => return Err(error).with_context(told),
    }
    let (length, id) = read(&file, &path, &mut each)?;
    let torn = file.metadata().with_context(told)?.len() - length;
    if torn > 0 {
        file.set_len(length).with_context(told)?;
        complain(&format!(
            "{}: cut off the last {torn} bytes, from byte {length} on: a line without its end, for which nobody had a receipt",
            told()
        ));
    }
    let file = Arc::new(file);
    let reader = Reader(file.clone());
    let mut appender = Appender {
        file,
        path: path.clone(),
        length,
        id: id.unwrap_or_else(Uuid::new_v4),
    };
    if id.is_none() {
        let mut lines = String::new();
        line::log(&mut lines, now_ms(), appender.id);
        appender.append(&lines, false)?;
    }
    // A server that was killed may have written lines without waiting for the disk: now they are answered as known.
    appender.file.sync_all().with_context(told)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(told)?;
    Ok((appender, reader))
}

/// Returns how long what is whole is, and its id if it has one.
fn read(
    file: &File,
    path: &Path,
    each: &mut dyn FnMut(Entry, u64) -> anyhow::Result<()>,
) -> anyhow::Result<(u64, Option<Uuid>)> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut offset, mut log) = (Vec::new(), 0, None);
    for number in 1.. {
        line.clear();
        let bytes = reader
            .read_until(b'\n', &mut line)
            .with_context(|| format!("{}", path.display()))?;
        if line.pop() != Some(b'\n') {
            break;
        }
        let at = || format!("{}, line {number}", path.display());
        let entry = parsed(&line).with_context(|| format!("{} is none that this program has written: put back what it was, or cut the file there if the machine has lost its power", at()))?;
        match entry {
            Entry::Log(id) => ensure!(
                log.replace(id).is_none(),
                "{} begins another log: put back what it was",
                at()
            ),
            entry => each(entry, offset).with_context(at)?,
        }
        offset += bytes as u64;
    }
    Ok((offset, log))
}

fn parsed(line: &[u8]) -> Option<Entry> {
    line::parse(std::str::from_utf8(line).ok()?)
}

impl Appender {
    /// Which log this is.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Where the next line begins.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends whole lines; if they must be on the disk before anybody is answered, it waits for that.
    ///
    /// # Errors
    /// Nobody knows what is on the disk: the process has to end, and to start from what is there.
    pub fn append(&mut self, lines: &str, must_be_on_disk: bool) -> anyhow::Result<()> {
        let mut file = &*self.file;
        file.write_all(lines.as_bytes())
            .with_context(|| format!("{}", self.path.display()))?;
        self.length += lines.len() as u64;
        if must_be_on_disk {
            file.sync_data()
                .with_context(|| format!("{}", self.path.display()))?;
        }
        Ok(())
    }
}

impl Reader {
    /// The entry whose line begins at `offset`.
    ///
    /// # Errors
    /// The file cannot be read, or somebody has changed it.
    pub fn entry(&self, offset: u64) -> anyhow::Result<Entry> {
        let mut line = vec![0; 512];
        let mut read = 0;
        loop {
            let more = self
                .0
                .read_at(&mut line[read..], offset + read as u64)
                .context(NAME)?;
            if let Some(end) = line[read..read + more]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                line.truncate(read + end);
                break;
            }
            read += more;
            anyhow::ensure!(more > 0, "{NAME} is shorter than it was, at byte {offset}");
            line.resize(line.len() * 2, 0);
        }
        parsed(&line)
            .with_context(|| format!("{NAME} was changed by somebody else, at byte {offset}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ClientId;

    /// Each with its position.
    type Entries = Vec<(Entry, u64)>;

    fn entries(folder: &Path) -> anyhow::Result<(Appender, Reader, Entries)> {
        let mut entries = Vec::new();
        let (appender, reader) = open(folder, |entry, offset| {
            entries.push((entry, offset));
            Ok(())
        })?;
        Ok((appender, reader, entries))
    }

    fn line(position: u64) -> String {
        let mut lines = String::new();
        line::delivered(&mut lines, 0, ClientId(1), "ana", position);
        lines
    }

    #[test]
    fn a_torn_end_is_cut_off_and_what_follows_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let torn = line(3);
        std::fs::write(
            folder.path().join(NAME),
            line(1) + &line(2) + &torn[..torn.len() - 4],
        )
        .unwrap();
        let (mut appender, reader, before) = entries(folder.path()).unwrap();
        let at = appender.length();
        appender.append(&line(4), true).unwrap();
        assert_eq!(reader.entry(at).unwrap(), Entry::Delivered(ClientId(1), 4));
        drop((appender, reader));
        let (_, _, after) = entries(folder.path()).unwrap();
        let told = |entries: Vec<(Entry, u64)>| {
            entries
                .into_iter()
                .map(|(entry, _)| entry)
                .collect::<Vec<_>>()
        };
        let position = |position| Entry::Delivered(ClientId(1), position);
        assert_eq!(told(before), [position(1), position(2)]);
        assert_eq!(told(after), [position(1), position(2), position(4)]);
    }

    #[test]
    fn a_log_keeps_its_id_and_one_without_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), line(1)).unwrap();
        let id = || entries(folder.path()).unwrap().0.id();
        let first = id();
        assert_eq!(first, id());
        let other = tempfile::tempdir().unwrap();
        assert_ne!(first, entries(other.path()).unwrap().0.id());
        let text = std::fs::read_to_string(other.path().join(NAME)).unwrap();
        assert!(text.contains(" log "), "{text}");
    }

    #[test]
    fn a_strange_line_is_told_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), line(1) + "nonsense\n" + &line(2)).unwrap();
        let told = format!("{:#}", entries(folder.path()).err().unwrap());
        assert!(told.contains("log.txt, line 2 is none"), "{told}");
    }

    #[test]
    fn two_servers_do_not_write_one_log() {
        let folder = tempfile::tempdir().unwrap();
        let _first = entries(folder.path()).unwrap();
        let told = format!("{:#}", entries(folder.path()).err().unwrap());
        assert!(told.contains("another server"), "{told}");
    }
}
