//! The text and the environment, and what is found wrong with them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{Mistake, Mistakes, suggest::did_you_mean};
use crate::config::files::FilesOf;

/// Where something was declared: what a mistake about it points at.
#[derive(Debug, Clone)]
pub(in crate::config) struct Spot {
    /// `topics.messages.partitions`, or a variable's name.
    path: String,
    /// In the text; none for a variable.
    offset: Option<usize>,
}

impl Spot {
    pub(super) fn in_file(path: impl Into<String>, offset: usize) -> Self {
        Self {
            path: path.into(),
            offset: Some(offset),
        }
    }

    /// `topics.messages.partitions`
    pub(in crate::config) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is a variable.
    pub(in crate::config) fn in_environment(&self) -> bool {
        self.offset.is_none()
    }

    /// Something that is missing from what stands here.
    pub(in crate::config) fn child(&self, key: &str) -> Self {
        Self {
            path: self.join(key),
            offset: self.offset,
        }
    }

    /// The path of `key` below this one, quoted as TOML would.
    pub(super) fn join(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let quote = if !key.is_empty() && key.chars().all(bare) {
            ""
        } else {
            "\""
        };
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{quote}{key}{quote}", self.path)
    }
}

/// A value and where it was found.
#[derive(Debug, Clone)]
pub(in crate::config) struct Found<T> {
    /// The value.
    pub(in crate::config) value: T,
    /// Where.
    pub(in crate::config) spot: Spot,
}

/// The text and the environment that are read, and what was found wrong with them.
pub(in crate::config) struct Source {
    text: String,
    environment: BTreeMap<String, String>,
    /// Some of the text is not TOML, so that what seems to be missing may stand there.
    torn: bool,
    mistakes: RefCell<Vec<Mistake>>,
    /// What is no mistake, but nobody may want.
    warnings: RefCell<Vec<String>>,
    /// The path that stands for the text.
    file: PathBuf,
    /// The process reads these, so that they must be there.
    files: Vec<FilesOf>,
    /// Everything that was found, by its path in the file.
    spots: RefCell<BTreeMap<String, Spot>>,
    /// `AGUACERO_KAFKA_` and so on.
    prefixes: RefCell<Vec<String>>,
    /// Every variable that was looked for.
    variables: RefCell<BTreeSet<String>>,
}

impl Source {
    /// Of a text and what the parser had to say about it.
    pub(in crate::config) fn new(
        text: &str,
        file: &str,
        environment: BTreeMap<String, String>,
        files: &[FilesOf],
        errors: &[toml::de::Error],
    ) -> Self {
        let source = Self {
            text: text.to_owned(),
            environment,
            torn: !errors.is_empty(),
            mistakes: RefCell::default(),
            warnings: RefCell::default(),
            file: file.into(),
            files: files.to_vec(),
            spots: RefCell::default(),
            prefixes: RefCell::default(),
            variables: RefCell::default(),
        };
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            let mend = match error.message() {
                "duplicate key" => {
                    " (it is there already: write it once, a table with all its keys)"
                }
                _ => "",
            };
            source.report(
                &Spot::in_file("", offset),
                format!("not TOML: {}{mend}", error.message()),
            );
        }
        source
    }

    /// Remembers a mistake.
    pub(in crate::config) fn report(&self, spot: &Spot, what: impl Into<String>) {
        let (line, column) = spot.offset.map_or((0, 0), |offset| self.position(offset));
        let mistake = Mistake {
            line,
            column,
            path: spot.path.clone(),
            what: what.into(),
        };
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Remembers that something is missing, or does not go with something that is: unless it may
    /// stand in a part of the file that could not be read, or something else is wrong with it.
    pub(in crate::config) fn report_absence(&self, spot: &Spot, what: impl Into<String>) {
        if !self.torn && self.sound(&spot.path) {
            self.report(spot, what);
        }
    }

    /// Remembers something to be told, once the file turns out to have no mistakes.
    pub(in crate::config) fn warn(&self, spot: &Spot, what: &str) {
        let warning = format!("{} ({}): {what}", spot.path, self.place(spot));
        self.warnings.borrow_mut().push(warning);
    }

    /// What was to be told.
    pub(in crate::config) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// Whether the process reads the files that `[table]` names.
    pub(in crate::config) fn reads(&self, table: &str) -> bool {
        self.files.iter().any(|files| files.table() == table)
    }

    /// Where a file is that the text names: its path is relative to the folder of the text's own.
    pub(in crate::config) fn beside(&self, named: &str) -> PathBuf {
        self.file.with_file_name(named)
    }

    /// Line and column, counted from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or(before);
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// "line 12", or the variable's name.
    pub(in crate::config) fn place(&self, spot: &Spot) -> String {
        match spot.offset {
            Some(offset) => format!("line {}", self.position(offset).0),
            None => spot.path.clone(),
        }
    }

    /// Remembers where something stands.
    pub(super) fn written(&self, spot: &Spot) {
        if spot.offset.is_some() {
            self.spots
                .borrow_mut()
                .insert(spot.path.clone(), spot.clone());
        }
    }

    /// Whether the file or the environment says anything about `path`.
    pub(in crate::config) fn says(&self, path: &str) -> bool {
        self.spots.borrow().contains_key(path)
    }

    /// Whether nothing wrong was found so far with `path` or an item of its list.
    pub(in crate::config) fn sound(&self, path: &str) -> bool {
        let spot = self.at(path);
        let about = |mistake: &Mistake| {
            let rest = mistake.path.strip_prefix(spot.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        };
        !self.mistakes.borrow().iter().any(about)
    }

    /// Where `path` stands, or else the table that it would stand in.
    pub(in crate::config) fn at(&self, path: &str) -> Spot {
        let spots = self.spots.borrow();
        let mut found = path;
        loop {
            match (spots.get(found), found.rsplit_once('.')) {
                (Some(spot), _) if found == path => return spot.clone(),
                (Some(spot), _) => {
                    return Spot {
                        path: path.to_owned(),
                        offset: spot.offset,
                    };
                }
                (None, Some((above, _))) => found = above,
                (None, None) => return Spot::in_file(path, 0),
            }
        }
    }
}

/// The environment.
impl Source {
    /// The prefix of the variables that override `[table]`.
    pub(super) fn overridable(&self, table: &str) -> String {
        let prefix = format!("AGUACERO_{}_", table.to_uppercase());
        self.prefixes.borrow_mut().push(prefix.clone());
        prefix
    }

    /// The variable that overrides `key`, which stands at `path`. An empty one is as good as none.
    pub(super) fn variable(&self, prefix: &str, path: &str, key: &str) -> Option<(Spot, String)> {
        let name = format!("{prefix}{}", key.to_uppercase());
        self.variables.borrow_mut().insert(name.clone());
        let text = self
            .environment
            .get(&name)
            .filter(|text| !text.is_empty())?;
        let spot = Spot {
            path: name,
            offset: None,
        };
        self.spots
            .borrow_mut()
            .insert(path.to_owned(), spot.clone());
        Some((spot, text.clone()))
    }

    /// Reports variables that look like an override and override nothing.
    fn report_unknown_variables(&self) {
        let (prefixes, known) = (self.prefixes.borrow(), self.variables.borrow());
        for name in self.environment.keys() {
            let ours = prefixes.iter().any(|prefix| name.starts_with(prefix));
            if ours && !known.contains(name) && !is_service_link(name) {
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                let hint = hint.unwrap_or_else(|| "take it out of the environment".to_owned());
                let spot = Spot {
                    path: name.clone(),
                    offset: None,
                };
                self.report(&spot, format!("overrides no key of the file; {hint}"));
            }
        }
    }

    /// Everything that was found wrong, if anything.
    pub(in crate::config) fn mistakes(self, file: &str) -> Option<Mistakes> {
        self.report_unknown_variables();
        let mut list = self.mistakes.into_inner();
        let broken: BTreeSet<usize> = list
            .iter()
            .filter(|mistake| mistake.path.is_empty())
            .map(|mistake| mistake.line)
            .collect();
        list.retain(|mistake| mistake.path.is_empty() || !broken.contains(&mistake.line));
        (!list.is_empty()).then(|| Mistakes::new(file, list))
    }
}

/// Kubernetes puts `AGUACERO_GATEWAY_SERVICE_HOST`, `AGUACERO_GATEWAY_PORT_8080_TCP` and the like into
/// every pod beside a service called `aguacero-gateway`. No key of ours is called so.
fn is_service_link(variable: &str) -> bool {
    variable.contains("_SERVICE_") || variable.ends_with("_PORT") || variable.contains("_PORT_")
}
