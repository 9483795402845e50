//! A file that is there whole, or not at all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::civil::Date;

/// The file of a day's report.
#[must_use]
pub fn of_day(folder: &Path, day: Date) -> PathBuf {
    folder.join(format!("ventas-{day}.txt"))
}

/// Writes `bytes` to `file`, whatever was there before. Whoever is killed in between leaves the file as it was: the bytes
/// are on the disk under another name before they get this one, and the folder is before this returns.
pub fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // Of this process: two that write the same file do not meet.
    let temporary = folder.join(format!(".{name}.{}.part", std::process::id()));
    let written = write_and_sync(&temporary, bytes).and_then(|()| fs::rename(&temporary, file));
    if let Err(error) = written {
        _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write_and_sync(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = of_day(folder.path(), Date::constant(2026, 11, 21));
        for text in ["first", "a longer second", ""] {
            write_whole(&file, text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&file).expect("there"), text);
        }
        let names = fs::read_dir(folder.path()).expect("a folder");
        let names: Vec<_> = names
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["ventas-2026-11-21.txt"]);
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        fs::create_dir(&file).expect("in the way");
        assert!(write_whole(&file, b"text").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        assert!(write_whole(&folder.path().join("none/a"), b"text").is_err());
    }
}
