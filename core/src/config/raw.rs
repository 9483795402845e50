//! The file as it was written: a spanned TOML tree, read key by key.
//!
//! A [`Table`] hands out typed values, remembers which keys it was asked for, and reports the others
//! when it is [`done`](Table::done). Nothing here stops at a mistake: every one goes to the
//! [`Source`] with its place, a stand-in takes the value's place, and the reading goes on.

mod mistake;
mod read;
mod source;
mod suggest;

use std::{cell::RefCell, fmt::Display, net::SocketAddr, ops::RangeInclusive, time::Duration};

use toml::de::{DeTable, DeValue};

pub use mistake::{Mistake, Mistakes};
pub(super) use read::Read;
pub(super) use source::{Found, Source, Spot};
pub(super) use suggest::{did_you_mean, one_of};

/// One table of the file, or an absent one, which is like an empty one.
pub(super) struct Table<'s> {
    /// Where everything is reported.
    source: &'s Source,
    /// The last part of its path: the NAME of `[streams.NAME]`.
    name: String,
    /// Where it stands.
    spot: Spot,
    /// Its keys in the order of the file.
    entries: Vec<Entry<'s>>,
    /// Keys that the program knows.
    asked: RefCell<Vec<&'static str>>,
    /// `AGUACERO_KAFKA_`, if the environment overrides its scalars.
    variables: Option<String>,
}

/// `key = value`
struct Entry<'s> {
    key: &'s str,
    /// Of the key.
    offset: usize,
    value: &'s toml::Spanned<DeValue<'s>>,
}

impl<'s> Table<'s> {
    /// The whole file.
    pub(super) fn root(source: &'s Source, tree: &'s DeTable<'s>) -> Self {
        Self::new(source, String::new(), Spot::in_file("", 0), Some(tree))
    }

    fn new(source: &'s Source, name: String, spot: Spot, tree: Option<&'s DeTable<'s>>) -> Self {
        source.written(&spot);
        let mut entries: Vec<Entry<'s>> = tree
            .into_iter()
            .flatten()
            .map(|(key, value)| Entry {
                key: key.get_ref(),
                offset: key.span().start,
                value,
            })
            .collect();
        entries.sort_by_key(|entry| entry.offset);
        Self {
            source,
            name,
            spot,
            entries,
            asked: RefCell::default(),
            variables: None,
        }
    }

    /// Where mistakes go.
    pub(super) fn source(&self) -> &'s Source {
        self.source
    }

    /// The last part of the table's path.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the table stands.
    pub(super) fn spot(&self) -> &Spot {
        &self.spot
    }

    /// Where `key` stands, or would stand.
    pub(super) fn spot_of(&self, key: &str) -> Spot {
        self.source.at(&self.spot.join(key))
    }

    /// Reports a mistake about the value of `key`.
    pub(super) fn report(&self, key: &str, what: impl Into<String>) {
        self.source.report(&self.spot_of(key), what);
    }

    /// Reports a mistake about something in this table.
    pub(super) fn report_at(&self, spot: &Spot, what: impl Into<String>) {
        self.source.report(spot, what);
    }

    /// [`Source::report_absence`] of something in this table.
    pub(super) fn report_absence(&self, spot: &Spot, what: impl Into<String>) {
        self.source.report_absence(spot, what);
    }

    /// Reports `key`, whatever its value, if it is there: `what` says what to write instead.
    pub(super) fn forbid(&self, key: &'static str, what: &str) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            self.asked.borrow_mut().push(key);
            self.source.report(&self.key_spot(entry), what);
        }
    }

    /// Looks `key` up, and marks it as known.
    fn entry(&self, key: &'static str) -> Option<&Entry<'s>> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn key_spot(&self, entry: &Entry<'_>) -> Spot {
        Spot::in_file(self.spot.join(entry.key), entry.offset)
    }

    fn value_spot(&self, entry: &Entry<'_>) -> Spot {
        Spot::in_file(self.spot.join(entry.key), entry.value.span().start)
    }

    /// Reports every key that was not asked for.
    pub(super) fn done(self) {
        let asked = self.asked.borrow();
        let kind = if self.spot.path().is_empty() {
            "table"
        } else {
            "key"
        };
        for entry in &self.entries {
            if !asked.contains(&entry.key) {
                let what = format!("unknown {kind}; {}", one_of(entry.key, &asked));
                self.source.report(&self.key_spot(entry), what);
            }
        }
    }
}

/// Tables within a table.
impl<'s> Table<'s> {
    /// The table under `key`.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        let entry = self.entry(key)?;
        self.child(entry.key, self.key_spot(entry), entry.value.get_ref())
    }

    /// The table of one process: the environment overrides its scalars. Absent, it is all defaults.
    pub(super) fn process(&self, key: &'static str) -> Self {
        let absent = || Self::new(self.source, key.to_owned(), self.spot.child(key), None);
        let mut table = self.table(key).unwrap_or_else(absent);
        table.variables = Some(self.source.overridable(key));
        table
    }

    /// `[[key]]`, or a list of inline tables.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let spot = self.value_spot(entry);
        self.source.written(&spot);
        let Some(items) = entry.value.get_ref().as_array() else {
            let (path, is) = (spot.path(), read::describe(entry.value.get_ref()));
            let what = format!("must be a list of tables, each under [[{path}]], is {is}");
            self.source.report(&spot, what);
            return Vec::new();
        };
        let item = |(i, item): (usize, &'s toml::Spanned<DeValue<'s>>)| {
            let spot = Spot::in_file(format!("{}[{i}]", spot.path()), item.span().start);
            self.child(key, spot, item.get_ref())
        };
        items.iter().enumerate().filter_map(item).collect()
    }

    /// Every entry as a table of its own, in the order of the file: `[topics.NAME]`.
    pub(super) fn named(self) -> Vec<Self> {
        let table =
            |entry: &Entry<'s>| self.child(entry.key, self.key_spot(entry), entry.value.get_ref());
        self.entries.iter().filter_map(table).collect()
    }

    /// Every entry as a value, in the order of the file.
    pub(super) fn pairs<T: Read>(self) -> Vec<(String, Found<T>)> {
        let pair = |entry: &Entry<'s>| Some((entry.key.to_owned(), self.value(entry)?));
        self.entries.iter().filter_map(pair).collect()
    }

    fn child(&self, name: &str, spot: Spot, value: &'s DeValue<'s>) -> Option<Self> {
        if let DeValue::Table(tree) = value {
            return Some(Self::new(self.source, name.to_owned(), spot, Some(tree)));
        }
        let what = format!("must be a table, is {}", read::describe(value));
        self.source.report(&spot, what);
        None
    }
}

/// Values.
impl Table<'_> {
    /// The value of `key`, if it is there and of the right type.
    pub(super) fn get<T: Read>(&self, key: &'static str) -> Option<Found<T>> {
        let entry = self.entry(key);
        if let Some(prefix) = &self.variables
            && let Some((spot, text)) = self.source.variable(prefix, &self.spot.join(key), key)
        {
            let is = || format!("\"{text}\"");
            return self.typed(T::from_text(&text), spot, is);
        }
        self.value(entry?)
    }

    /// [`Table::get`] of a key that must be there.
    pub(super) fn need<T: Read>(&self, key: &'static str) -> Option<Found<T>> {
        let found = self.get(key);
        if found.is_none() {
            let what = format!("is missing; write {key} = {}", T::EXAMPLE);
            self.source.report_absence(&self.spot_of(key), what);
        }
        found
    }

    /// The values of a list; one value alone is a list of one.
    pub(super) fn list<T: Read>(&self, key: &'static str) -> Option<Vec<Found<T>>> {
        let entry = self.entry(key)?;
        let Some(items) = entry.value.get_ref().as_array() else {
            return self.value(entry).map(|found| vec![found]);
        };
        let list = self.value_spot(entry);
        self.source.written(&list);
        let item = |(i, item): (usize, &toml::Spanned<DeValue<'_>>)| {
            let spot = Spot::in_file(format!("{}[{i}]", list.path()), item.span().start);
            let value = item.get_ref();
            self.typed(T::from_toml(value), spot, || read::describe(value))
        };
        Some(items.iter().enumerate().filter_map(item).collect())
    }

    fn value<T: Read>(&self, entry: &Entry<'_>) -> Option<Found<T>> {
        let value = entry.value.get_ref();
        let spot = self.value_spot(entry);
        self.typed(T::from_toml(value), spot, || read::describe(value))
    }

    /// What was read, or a mistake that says what it should have been.
    fn typed<T: Read>(
        &self,
        value: Option<T>,
        spot: Spot,
        is: impl Fn() -> String,
    ) -> Option<Found<T>> {
        self.source.written(&spot);
        let Some(value) = value else {
            let (must_be, unit) = (T::WHAT, read::unit(spot.path()));
            let what = format!("must be {must_be}, is {}{unit}", is());
            self.source.report(&spot, what);
            return None;
        };
        Some(Found { value, spot })
    }
}

/// Values with a default, in the bounds that they must keep.
impl Table<'_> {
    /// A whole number.
    pub(super) fn number<N>(&self, key: &'static str, default: N, range: RangeInclusive<N>) -> N
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        let found = self.get::<i64>(key);
        found
            .and_then(|found| self.within(&found, &range))
            .unwrap_or(default)
    }

    /// A whole number that must be there.
    pub(super) fn needed_number<N>(&self, key: &'static str, range: RangeInclusive<N>) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        self.need::<i64>(key)
            .and_then(|found| self.within(&found, &range))
    }

    fn within<N>(&self, found: &Found<i64>, range: &RangeInclusive<N>) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        let fits = N::try_from(found.value).ok().filter(|n| range.contains(n));
        if fits.is_none() {
            let (from, to, is) = (range.start(), range.end(), found.value);
            self.source.report(
                &found.spot,
                format!("must be between {from} and {to}, is {is}"),
            );
        }
        fits
    }

    /// A time in milliseconds.
    pub(super) fn millis(
        &self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_millis(self.number(key, default, range))
    }

    /// A text for which `wrong` has nothing to say.
    pub(super) fn text<W>(
        &self,
        key: &'static str,
        default: &str,
        wrong: impl Fn(&str) -> Option<W>,
    ) -> String
    where
        W: Into<String>,
    {
        let Some(found) = self.get::<String>(key) else {
            return default.to_owned();
        };
        if let Some(what) = wrong(&found.value) {
            self.source.report(&found.spot, what);
        }
        found.value
    }

    /// An address to listen on.
    pub(super) fn address(&self, key: &'static str, default: SocketAddr) -> SocketAddr {
        let Some(found) = self.get::<String>(key) else {
            return default;
        };
        found.value.parse().unwrap_or_else(|_| {
            let is = &found.value;
            let what = format!("must be an IP address and a port, like {default}, is \"{is}\"");
            self.source.report(&found.spot, what);
            default
        })
    }
}
