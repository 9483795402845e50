//! A line of the log.

use std::fmt::Write as _;

use uuid::Uuid;

use crate::{
    message::{Client, ClientId, Message},
    text::{escaped, read_time, time, unescaped},
};

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Which log this is.
    Log(Uuid),
    /// Somebody has registered.
    Client(Client, Uuid),
    /// A message was taken.
    Message(Message),
    /// What has come to a client: its messages up to this position.
    Delivered(ClientId, u64),
}

/// Appends the line that says which log this is.
pub fn log(lines: &mut String, at_ms: i64, id: Uuid) {
    _ = writeln!(lines, "{} log {id}", time(at_ms));
}

/// Appends the line of a client that registers.
pub fn client(lines: &mut String, client: &Client, registration: Uuid) {
    let at = time(client.since_ms);
    _ = writeln!(
        lines,
        "{at} client {}:{} {registration}",
        client.id, client.name
    );
}

/// Appends the line of a message between clients of these names.
pub fn message(lines: &mut String, message: &Message, from: &str, to: &str) {
    let Message {
        id,
        from: sender,
        to: addressee,
        at_ms,
        text,
    } = message;
    let (at, text) = (time(*at_ms), escaped(text));
    _ = writeln!(
        lines,
        "{at} message {id} {sender}:{from} -> {addressee}:{to} {text}"
    );
}

/// Appends the line of what has come to the client of this name.
pub fn delivered(lines: &mut String, at_ms: i64, client: ClientId, name: &str, position: u64) {
    _ = writeln!(
        lines,
        "{} delivered {client}:{name} {position}",
        time(at_ms)
    );
}

/// What a line tells, without the end of it; none if nothing of this program has written it.
#[must_use]
pub fn parse(line: &str) -> Option<Entry> {
    let mut words = line.splitn(4, ' ');
    let at_ms = read_time(words.next()?)?;
    let (kind, second) = (words.next()?, words.next()?);
    if kind == "log" {
        let id = second.parse().ok()?;
        return words.next().is_none().then_some(Entry::Log(id));
    }
    let rest = words.next()?;
    Some(match kind {
        "client" => {
            let (id, name) = who(second)?;
            let client = Client {
                id,
                name: name.to_owned(),
                since_ms: at_ms,
            };
            Entry::Client(client, rest.parse().ok()?)
        }
        "message" => Entry::Message(sent(second, at_ms, rest)?),
        "delivered" => Entry::Delivered(who(second)?.0, rest.parse().ok()?),
        _ => return None,
    })
}

fn sent(id: &str, at_ms: i64, rest: &str) -> Option<Message> {
    let mut words = rest.splitn(4, ' ');
    let (from, arrow, to) = (words.next()?, words.next()?, words.next()?);
    let message = Message {
        id: id.parse().ok()?,
        from: who(from)?.0,
        to: who(to)?.0,
        at_ms,
        text: unescaped(words.next()?)?,
    };
    (arrow == "->").then_some(message)
}

fn who(word: &str) -> Option<(ClientId, &str)> {
    let (id, name) = word.split_once(':')?;
    let id = id.parse().ok().filter(|id| *id > 0)?;
    Some((ClientId(id), name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(id in any::<u128>(), from in 1u32.., to in 1u32.., at_ms in 0..253_402_300_799_999_i64, text in any::<String>()) {
            let sent = Message { id: Uuid::from_u128(id), from: ClientId(from), to: ClientId(to), at_ms, text };
            let mut lines = String::new();
            message(&mut lines, &sent, "ana", "ñandú");
            let line = lines.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(parse(line), Some(Entry::Message(sent)));
        }

        #[test]
        fn no_line_is_too_strange(line in ".*") {
            _ = parse(&line);
        }
    }

    #[test]
    fn logs_clients_and_deliveries_are_lines_of_their_own_kind() {
        let ana = Client {
            id: ClientId(1),
            name: "ana".into(),
            since_ms: 7,
        };
        let mut lines = String::new();
        log(&mut lines, 6, Uuid::from_u128(5));
        client(&mut lines, &ana, Uuid::max());
        delivered(&mut lines, 8, ana.id, "ana", 3);
        let read: Vec<_> = lines.lines().map(|line| parse(line).unwrap()).collect();
        assert_eq!(
            read,
            [
                Entry::Log(Uuid::from_u128(5)),
                Entry::Client(ana.clone(), Uuid::max()),
                Entry::Delivered(ana.id, 3)
            ]
        );
    }
}
