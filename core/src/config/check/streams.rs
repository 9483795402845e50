//! `[streams.NAME]`

use std::{collections::HashMap, time::Duration};

use crate::{
    config::{
        Access, Cors, Counter, Field, FieldNames, OnIdConflict, Partitioning, Route, Rule, Spread,
        Stream, TextPlain, Topic, Via, names,
        raw::{Found, Table, did_you_mean, one_of},
    },
    scalar::Scalar,
};

use super::{fields, fingerprint, tables};

/// Who may write, by the names under which it is declared.
const ACCESSES: [(&str, Access); 2] = [("open", Access::Open), ("keys", Access::Keys)];

/// What `text/plain` may hold, by the names under which it is declared.
const TEXTS: [(&str, TextPlain); 2] = [("json", TextPlain::Json), ("ndjson", TextPlain::Ndjson)];

/// What becomes of another event under an id that is there, by the names under which it is declared.
const ON_ID_CONFLICT: [(&str, OnIdConflict); 2] = [
    ("dead-letter", OnIdConflict::DeadLetter),
    ("first", OnIdConflict::First),
];

/// Keys of one counter that are shown by name, unless it says otherwise.
const MAX_DISTINCT: usize = 10_000;

/// Where a path, or a table, was first declared.
type Taken = HashMap<String, String>;

/// Every declared stream, in the order of the file. `has_keys`: the gateway has a keys file.
pub(super) fn read(root: &Table<'_>, topics: &[Topic], has_keys: bool) -> Vec<Stream> {
    let streams = root.table("streams").map(Table::named).unwrap_or_default();
    if streams.is_empty() {
        let what =
            "none is declared; write [streams.weather] with a topic and a route, for example";
        root.report_absence(&root.spot_of("streams"), what);
    }
    let (mut paths, mut tables) = (Taken::new(), Taken::new());
    let stream = |(index, table)| stream(index, table, topics, has_keys, (&mut paths, &mut tables));
    streams.into_iter().enumerate().map(stream).collect()
}

fn stream(
    index: usize,
    table: Table<'_>,
    topics: &[Topic],
    has_keys: bool,
    (paths, taken): (&mut Taken, &mut Taken),
) -> Stream {
    let name = table.name().to_owned();
    if let Some(what) = names::label(&name) {
        table.report_at(table.spot(), what);
    }
    let topic = topic(&table, topics);
    let fields = fields::read(&table);
    let id = table
        .get("id")
        .and_then(|found| fields::id(&table, &fields, &found));
    let counters = counters(&table, &fields);
    let stream = Stream {
        index,
        topic: topic.unwrap_or_default(),
        archive: table.text("archive", &name, names::collection),
        spread: spread(&table, topic.map(|topic| &topics[topic]), &fields),
        id,
        counters_fingerprint: fingerprint::of_counters(&counters, &fields),
        table: tables::read(&table, &fields, taken),
        names: FieldNames::of(&fields),
        fields,
        counters,
        routes: routes(&table, paths),
        access: access(&table, has_keys),
        cors: table.table("cors").map(cors),
        text_plain: text_plain(&table),
        on_id_conflict: on_id_conflict(&table),
        name,
    };
    table.done();
    stream
}

/// The position of the stream's topic.
fn topic(table: &Table<'_>, topics: &[Topic]) -> Option<usize> {
    let Found { value, spot } = table.need::<String>("topic")?;
    let position = topics.iter().position(|topic| topic.name == value);
    if position.is_none() {
        let hint = did_you_mean(&value, topics.iter().map(|topic| topic.name.as_str()))
            .unwrap_or_else(|| format!("write [topics.{value}] with its partitions"));
        table.report_absence(&spot, format!("no topic \"{value}\" is declared; {hint}"));
    }
    position
}

fn spread(table: &Table<'_>, topic: Option<&Topic>, fields: &[Field]) -> Spread {
    Spread {
        otherwise: partitioning(table, fields),
        rules: rules(table, topic, fields),
    }
}

/// `spread = "sticky"`, or `key = "field"`.
fn partitioning(table: &Table<'_>, fields: &[Field]) -> Partitioning {
    let spread = table.get::<String>("spread");
    let key = table.get::<String>("key");
    if let Some(Found { value, spot }) = &spread {
        if value != "sticky" {
            let what = "must be \"sticky\"; to spread by a field, write key = \"field\" instead";
            table.report_at(spot, what);
        } else if key.is_some() {
            let what = "does not go with key, which spreads by a field; take one of them out";
            table.report_at(spot, what);
        }
    }
    let position = key.and_then(|found| fields::scalar(table, fields, &found));
    position.map_or(Partitioning::Sticky, Partitioning::Key)
}

fn rules(table: &Table<'_>, topic: Option<&Topic>, fields: &[Field]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for rule_table in table.tables("rules") {
        if rules.last().is_some_and(|before| before.when.is_none()) {
            let what = "is never reached: the rule before it has no when, and so always holds";
            rule_table.report_at(rule_table.spot(), what);
        }
        rules.push(rule(rule_table, topic, fields));
    }
    rules
}

fn rule(table: Table<'_>, topic: Option<&Topic>, fields: &[Field]) -> Rule {
    let partition = table.need::<String>("partition");
    let partition = partition
        .zip(topic)
        .and_then(|(found, topic)| reserved(&table, topic, &found));
    let when = table.table("when").map(|when| condition(when, fields));
    table.done();
    Rule {
        when,
        partition: partition.unwrap_or_default(),
    }
}

/// The number of a reserved partition.
fn reserved(table: &Table<'_>, topic: &Topic, found: &Found<String>) -> Option<i32> {
    let number = topic.reserved.iter().find(|(name, _)| *name == found.value);
    if number.is_none() {
        let known: Vec<_> = topic
            .reserved
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let (name, topic, hint) = (&found.value, &topic.name, one_of(&found.value, &known));
        let what = format!("topic \"{topic}\" reserves no partition \"{name}\"; {hint}");
        table.report_absence(&found.spot, what);
    }
    number.map(|(_, number)| *number)
}

/// `{ field = "Registro premium", is = [true, "si"] }`
fn condition(table: Table<'_>, fields: &[Field]) -> (usize, Vec<Scalar<'static>>) {
    let field = table.need::<String>("field");
    let position = field.and_then(|found| fields::position(&table, fields, &found));
    let types = position
        .map(|position| fields[position].types.clone())
        .unwrap_or_default();
    let is = fields::values(&table, "is", &types);
    if is.is_empty() {
        let what = "needs at least one value; write is = [true], for example";
        table.report_absence(&table.spot_of("is"), what);
    }
    table.done();
    (position.unwrap_or_default(), is)
}

fn counters(table: &Table<'_>, fields: &[Field]) -> Vec<Counter> {
    let mut counters: Vec<Counter> = Vec::new();
    for counter_table in table.tables("counters") {
        let spot = counter_table.spot().child("name");
        let counter = counter(counter_table, fields);
        if counters.iter().any(|other| other.name == counter.name) {
            let what = format!("this stream already has a counter \"{}\"", counter.name);
            table.report_absence(&table.source().at(spot.path()), what);
        }
        counters.push(counter);
    }
    counters
}

fn counter(table: Table<'_>, fields: &[Field]) -> Counter {
    let name = table.need::<String>("name");
    if let Some(Found { value, spot }) = &name
        && let Some(what) = names::counter(value)
    {
        table.report_at(spot, what);
    }
    let by = counted(&table, fields);
    let max_distinct = table.number("max_distinct", MAX_DISTINCT, 1..=1_000_000);
    let values: Vec<_> = table.list::<Scalar<'static>>("values").unwrap_or_default();
    if values.len() > max_distinct {
        let what = format!(
            "lists {} values, more than max_distinct ({max_distinct})",
            values.len()
        );
        table.report("values", what);
    }
    table.done();
    Counter {
        name: name.map(|found| found.value).unwrap_or_default(),
        by,
        max_distinct,
        values: values
            .into_iter()
            .map(|found| found.value.into_text().into_owned())
            .collect(),
    }
}

/// The positions of the fields that make a counter's key.
fn counted(table: &Table<'_>, fields: &[Field]) -> Vec<usize> {
    let by = table.list::<String>("by").unwrap_or_default();
    if by.is_empty() {
        let what = "needs at least one field; write by = [\"field\"]";
        table.report_absence(&table.spot_of("by"), what);
    }
    let mut positions = Vec::new();
    for found in by {
        let Some(position) = fields::scalar(table, fields, &found) else {
            continue;
        };
        if positions.contains(&position) {
            table.report_at(&found.spot, "is listed twice");
        }
        positions.push(position);
    }
    positions
}

fn routes(table: &Table<'_>, paths: &mut Taken) -> Vec<Route> {
    let routes: Vec<_> = table
        .tables("routes")
        .into_iter()
        .map(|table| route(table, paths))
        .collect();
    if routes.is_empty() {
        let what =
            "has no route, so no event can come in; write [[streams.NAME.routes]] with a path"
                .replace("NAME", table.name());
        table.report_absence(&table.spot_of("routes"), what);
    }
    routes
}

fn route(table: Table<'_>, paths: &mut Taken) -> Route {
    let path = table.need::<String>("path");
    if let Some(Found { value, spot }) = &path {
        if let Some(what) = names::path(value) {
            table.report_at(spot, what);
        }
        if let Some(place) = paths.insert(value.clone(), table.source().place(spot)) {
            let what = format!("\"{value}\" is already a route ({place}); choose another path");
            table.report_at(spot, what);
        }
    }
    let via = via(&table);
    table.done();
    Route {
        path: path.map(|found| found.value).unwrap_or_default(),
        via,
    }
}

fn access(table: &Table<'_>, has_keys: bool) -> Access {
    let default = match has_keys {
        true => Access::Keys,
        false => Access::Open,
    };
    let Some(Found { value, spot }) = table.get::<String>("access") else {
        return default;
    };
    let Some((_, access)) = ACCESSES.iter().find(|(name, _)| *name == value) else {
        let hint = one_of(&value, &ACCESSES.map(|(name, _)| name));
        table.report_at(&spot, format!("there is no access \"{value}\"; {hint}"));
        return default;
    };
    if *access == Access::Keys && !has_keys {
        let what = "there are no keys; write keys = \"keys.toml\" under [gateway]";
        table.report_absence(&spot, what);
    }
    *access
}

/// `{ origins = ["https://a.example"], headers = ["x-page"], max_age_s = 600 }`
fn cors(table: Table<'_>) -> Cors {
    let origins = table.list::<String>("origins").unwrap_or_default();
    if origins.is_empty() {
        let what =
            "needs at least one; write origins = [\"https://a.example\"], or [\"*\"] for any";
        table.report_absence(&table.spot_of("origins"), what);
    }
    for Found { value, spot } in &origins {
        let wrong = match value.as_str() {
            "*" if origins.len() == 1 => None,
            "*" => Some("allows any; list it alone, or take it out"),
            origin => names::origin(origin),
        };
        if let Some(what) = wrong {
            table.report_at(spot, what);
        }
    }
    let headers = table.list::<String>("headers");
    for Found { value, spot } in headers.iter().flatten() {
        if let Some(what) = names::header_field(value) {
            table.report_at(spot, what);
        }
    }
    let name = |found: Found<String>| found.value.to_ascii_lowercase();
    // Browsers remember no preflight for longer than a day.
    let max_age = table.number("max_age_s", 600, 0..=86_400);
    table.done();
    Cors {
        origins: origins.into_iter().map(|found| found.value).collect(),
        headers: headers.map(|names| names.into_iter().map(name).collect()),
        max_age: Duration::from_secs(max_age),
    }
}

fn text_plain(table: &Table<'_>) -> Option<TextPlain> {
    let Found { value, spot } = table.get::<String>("text_plain")?;
    let known = TEXTS.iter().find(|(name, _)| *name == value);
    if known.is_none() {
        let hint = one_of(&value, &TEXTS.map(|(name, _)| name));
        table.report_at(&spot, format!("text/plain cannot hold \"{value}\"; {hint}"));
    }
    known.map(|(_, holds)| *holds)
}

fn on_id_conflict(table: &Table<'_>) -> OnIdConflict {
    let Some(Found { value, spot }) = table.get::<String>("on_id_conflict") else {
        return OnIdConflict::default();
    };
    if let Some((_, what)) = ON_ID_CONFLICT.iter().find(|(name, _)| *name == value) {
        return *what;
    }
    let hint = one_of(&value, &ON_ID_CONFLICT.map(|(name, _)| name));
    table.report_at(&spot, format!("cannot be \"{value}\"; {hint}"));
    OnIdConflict::default()
}

fn via(table: &Table<'_>) -> Via {
    let Some(Found { value, spot }) = table.get::<String>("via") else {
        return Via::Grpc;
    };
    if let Some(via) = Via::ALL.iter().find(|via| via.name() == value) {
        return *via;
    }
    let hint = one_of(&value, &Via::ALL.map(Via::name));
    table.report_at(&spot, format!("there is no transport \"{value}\"; {hint}"));
    Via::Grpc
}
