//! `[topics.NAME]`

use crate::config::{
    Topic, names,
    raw::{Found, Table},
};

/// The longest retention that can be asked for.
const CENTURY_MS: u64 = 100 * 365 * 24 * 3_600_000;

/// Every declared topic, in the order of the file.
pub(super) fn read(root: &Table<'_>) -> Vec<Topic> {
    let tables = root.table("topics").map(Table::named).unwrap_or_default();
    if tables.is_empty() {
        let what = "none is declared; write [topics.messages] with partitions = 6, for example";
        root.report_absence(&root.spot_of("topics"), what);
    }
    let mut topics: Vec<Topic> = Vec::new();
    for table in tables {
        if let Some(other) = topics
            .iter()
            .find(|other| collide(&other.name, table.name()))
        {
            let what = format!("Kafka takes it for the same as {}; rename one", other.name);
            table.report_at(table.spot(), what);
        }
        topics.push(topic(table));
    }
    topics
}

/// Kafka refuses names that differ only in `.` and `_`.
fn collide(a: &str, b: &str) -> bool {
    a.replace('.', "_") == b.replace('.', "_")
}

fn topic(table: Table<'_>) -> Topic {
    if let Some(what) = names::topic(table.name()) {
        table.report_at(table.spot(), what);
    }
    let partitions = table.needed_number("partitions", 1..=10_000);
    let replication = table.number("replication", 1, 1..=1_000);
    let min_insync = table.number("min_insync", 1, 1..=1_000);
    if min_insync > replication {
        let what = format!("must be at most replication ({replication}), is {min_insync}");
        table.report_absence(&table.spot_of("min_insync"), what);
    }
    let retention_min = table.millis("retention_min_ms", 0, 0..=CENTURY_MS);
    let retention_min_bytes = table.number("retention_min_bytes", 0, 0..=1 << 60);
    let reserved = reserved(&table, partitions);
    let ordinary = ordinary(&table, partitions.unwrap_or(1), &reserved);
    let name = table.name().to_owned();
    table.done();
    Topic {
        name,
        partitions: partitions.unwrap_or(1),
        replication,
        min_insync,
        retention_min,
        retention_min_bytes,
        reserved,
        ordinary,
    }
}

/// `reserved = { premium = 1 }`, ascending.
fn reserved(table: &Table<'_>, partitions: Option<i32>) -> Vec<(String, i32)> {
    let mut reserved: Vec<(String, i32)> = Vec::new();
    for (name, found) in table
        .table("reserved")
        .map(Table::pairs::<i64>)
        .unwrap_or_default()
    {
        if let Some(what) = names::label(&name) {
            table.report_at(&found.spot, format!("the name of a partition {what}"));
        }
        let Some(number) = existing(table, &found, partitions) else {
            continue;
        };
        if let Some((other, _)) = reserved.iter().find(|(_, other)| *other == number) {
            table.report_at(
                &found.spot,
                format!("partition {number} is already \"{other}\""),
            );
        }
        reserved.push((name, number));
    }
    reserved.sort_by_key(|(_, number)| *number);
    reserved
}

/// The number of a partition that the topic has. While it is not known how many it has, any.
fn existing(table: &Table<'_>, found: &Found<i64>, partitions: Option<i32>) -> Option<i32> {
    let partitions = partitions.unwrap_or(i32::MAX);
    let number = i32::try_from(found.value)
        .ok()
        .filter(|n| (0..partitions).contains(n));
    if number.is_none() {
        let (last, is) = (partitions - 1, found.value);
        let what = format!("must be the number of a partition, 0 to {last}, is {is}");
        table.report_absence(&found.spot, what);
    }
    number
}

/// The partitions that are not reserved.
fn ordinary(table: &Table<'_>, partitions: i32, reserved: &[(String, i32)]) -> Vec<i32> {
    let taken = |partition: &i32| reserved.iter().any(|(_, number)| number == partition);
    let ordinary: Vec<i32> = (0..partitions)
        .filter(|partition| !taken(partition))
        .collect();
    if ordinary.is_empty() {
        let what = "leaves no partition for ordinary events; declare one partition more";
        table.report_absence(&table.spot_of("reserved"), what);
    }
    ordinary
}
