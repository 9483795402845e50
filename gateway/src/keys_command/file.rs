//! The file of keys, edited so that no reader ever sees half of it and no two editors lose each other's work.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aguacero::config::{Config, Key, Mistakes, parse_keys};
use anyhow::{Context as _, bail};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table};

use super::KeyFile;

/// Of a file that is made here.
pub(super) const MODE: u32 = 0o600;
/// What such a file begins with.
pub(super) const HEADING: &str =
    "# Who may write: see docs/http-api.md. It holds hashes of tokens, no token.\n";

/// A file of keys, and what its keys may name.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    /// The declared streams, if the file is that of a configuration.
    pub(super) streams: Option<Vec<String>>,
}

impl KeyFile {
    pub(super) fn open(&self) -> anyhow::Result<Opened> {
        if let Some(path) = &self.file {
            let (path, streams) = (path.clone(), None);
            return Ok(Opened { path, streams });
        }
        let config = Config::load(&self.config.config, &[])?;
        let Some(path) = config.gateway.keys else {
            bail!(
                "{} names no file of keys: write keys = \"keys.toml\" under [gateway], or name one with --file",
                self.config.config.display()
            );
        };
        let streams = config.streams.into_iter().map(|stream| stream.name);
        Ok(Opened {
            path,
            streams: Some(streams.collect()),
        })
    }
}

impl Opened {
    /// The keys, as they are.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Key>> {
        let text = fs::read_to_string(&self.path);
        Ok(self.parse(&text.with_context(|| self.path.display().to_string())?)?)
    }

    fn parse(&self, text: &str) -> Result<Vec<Key>, Mistakes> {
        let streams = self.streams.as_ref();
        let streams: Option<Vec<_>> = streams.map(|s| s.iter().map(String::as_str).collect());
        let file = self.path.display().to_string();
        parse_keys(text, &file, streams.as_deref())
    }

    /// Changes the file; not at all where it has mistakes before or afterwards.
    pub(super) fn edit(
        self,
        change: impl FnOnce(&mut ArrayOfTables) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let file = self.path.display();
        let path = match fs::canonicalize(&self.path) {
            Ok(behind_links) => behind_links,
            Err(_) => self.path.clone(),
        };
        let new = New::beside(&path)?;
        let (text, before) = match fs::read_to_string(&path) {
            Ok(text) => (
                text,
                Some(fs::metadata(&path).with_context(|| file.to_string())?),
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (HEADING.to_owned(), None),
            Err(error) => return Err(error).with_context(|| file.to_string()),
        };
        self.parse(&text)?;
        let mut document: DocumentMut = text.parse()?;
        let behind = document.trailing().as_str().unwrap_or_default().to_owned();
        let keys = document
            .entry("keys")
            .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let Some(keys) = keys.as_array_of_tables_mut() else {
            bail!(
                "{file}: keys is a list in brackets; write each key under [[keys]], so that it can be changed"
            );
        };
        let known = keys.len();
        change(keys)?;
        if let Some(new) = keys.get_mut(known) {
            // What stands behind the last key stays before the new one.
            let mut between = behind;
            if !between.is_empty() && !between.ends_with('\n') {
                between.push('\n');
            }
            let blank = if known > 0 { "\n" } else { "" };
            new.decor_mut().set_prefix(format!("{between}{blank}"));
            document.set_trailing("");
        }
        let text = document.to_string();
        self.parse(&text)?;
        let replaced = new.replace(&path, &text, before.as_ref());
        replaced.with_context(|| format!("{file} stays as it was"))
    }
}

/// The key called `name`.
pub(super) fn named<'k>(keys: &'k mut ArrayOfTables, name: &str) -> anyhow::Result<&'k mut Table> {
    let is_it = |key: &Table| key.get("name").and_then(Item::as_str) == Some(name);
    let names = keys.iter().filter_map(|key| key.get("name")?.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    let found = keys.iter_mut().find(|key| is_it(key));
    found.with_context(|| format!("no key is called {name}; there are: {names}"))
}

pub(super) fn hashes(key: &mut Table) -> anyhow::Result<&mut Array> {
    let hashes = key.get_mut("hashes").and_then(Item::as_array_mut);
    hashes.context("hashes is not a list: write it in brackets")
}

/// The file that is to take the place of another. While it is there nobody else edits that one; dropped, it is
/// gone.
struct New {
    path: PathBuf,
    file: File,
    is_in_place: bool,
}

impl New {
    fn beside(path: &Path) -> anyhow::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(MODE).open(&path);
        let file = made.with_context(|| {
            let new = path.display();
            format!(
                "cannot make {new}; if it is there and nobody else is editing the keys, remove it"
            )
        })?;
        Ok(Self {
            path,
            file,
            is_in_place: false,
        })
    }

    /// Takes the place of the file at `path` whole, with the mode and the owner of the one `before`.
    fn replace(mut self, path: &Path, text: &str, before: Option<&fs::Metadata>) -> io::Result<()> {
        write(&self.file, text, before)?;
        fs::rename(&self.path, path)?;
        self.is_in_place = true;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all() // or the name could be lost
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.is_in_place {
            _ = fs::remove_file(&self.path);
        }
    }
}

fn write(mut file: &File, text: &str, before: Option<&fs::Metadata>) -> io::Result<()> {
    if let Some(before) = before {
        file.set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
