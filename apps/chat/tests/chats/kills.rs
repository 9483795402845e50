//! Kills of server, clients and broker, in between of thousands of messages.
//!
//! Longer: `CHAT_MESSAGES=100000 CHAT_KILLS=50 scripts/services run --only rabbitmq -- cargo test -p chat --test chats killed -- --nocapture`.

use std::{collections::BTreeMap, env, thread};

use chat::transport::Over;

use crate::{
    broker::Broker,
    world::{Client, World, once},
};

const CLIENTS: usize = 10;
const NAMES: [&str; CLIENTS] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"];

/// A client with what it is to send, and all that its processes have shown.
struct Member {
    number: usize,
    lines: Vec<String>,
    process: Option<Client>,
    shown: Vec<String>,
}

fn of_environment(name: &str, otherwise: usize) -> usize {
    env::var(name).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is to be a number"))
    })
}

/// To each of the others in turn.
fn addressee(from: usize, n: usize) -> usize {
    (from + 1 + n % (CLIENTS - 1)) % CLIENTS
}

impl Member {
    fn new(number: usize, messages: usize) -> Self {
        let line = |n| format!("/to {} {number}-{n}", NAMES[addressee(number, n)]);
        Self {
            number,
            lines: (0..messages).map(line).collect(),
            process: None,
            shown: Vec::new(),
        }
    }

    /// Started, it asks what the server has of it, and goes on behind that: what a process that was killed has not read is
    /// not there.
    fn start(&mut self, world: &World) {
        let mut client = world.client(NAMES[self.number], &["--patience", "100"]);
        client.type_line("/sent");
        let mut shown = Vec::new();
        once("a client knows what it has sent", || {
            shown = client.shown();
            shown.iter().any(|line| line.ends_with(" sent"))
        });
        let sent: Vec<_> = shown.iter().filter(|line| line.contains(" -> ")).collect();
        for (line, sent) in self.lines.iter().zip(&sent) {
            let text = line.rsplit(' ').next().unwrap();
            assert!(
                sent.ends_with(&format!(": {text}")),
                "sent out of turn: {sent}, not {text}"
            );
        }
        for line in &self.lines[sent.len()..] {
            client.type_line(line);
        }
        self.process = Some(client);
    }

    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            self.shown.extend(process.kill());
        }
    }

    fn end(&mut self) {
        let (status, shown) = self.process.take().unwrap().end();
        assert!(status.success(), "{shown:?}");
        self.shown.extend(shown);
    }
}

pub(crate) fn each_message_is_delivered_once_and_in_order_whatever_is_killed(over: Over) {
    let messages = of_environment("CHAT_MESSAGES", 10_000) / CLIENTS;
    let kills = of_environment("CHAT_KILLS", 5);
    let broker = (over == Over::Rabbitmq).then(Broker::own);
    let url = || broker.as_ref().map_or_else(String::new, Broker::url);
    let mut world = World::by(over, url);
    world.start_server();
    world.register(&NAMES);
    let mut members: Vec<_> = (0..CLIENTS)
        .map(|number| Member::new(number, messages))
        .collect();
    thread::scope(|scope| {
        for member in &mut members {
            scope.spawn(|| member.start(&world));
        }
    });
    for kill in 0..kills {
        let progress = (kill + 1) * messages * CLIENTS / (kills + 2);
        once("the next kill", || world.logged().len() >= progress);
        match (kill % 4, &broker) {
            (2, Some(broker)) => {
                broker.kill();
                broker.start();
            }
            (0 | 2, _) => {
                world.kill_server();
                world.start_server();
            }
            _ => {
                let member = &mut members[(3 * kill) % CLIENTS];
                member.kill();
                member.start(&world);
            }
        }
    }
    once("everything has come", || {
        (0..CLIENTS).all(|to| world.received(NAMES[to]).len() >= expected(to, messages))
    });
    for member in &mut members {
        member.end();
    }
    for member in &members {
        judge_received(&world.received(NAMES[member.number]), member, messages);
    }
    judge_log(&world.logged(), messages);
}

fn expected(to: usize, messages: usize) -> usize {
    (0..CLIENTS)
        .filter(|from| *from != to)
        .map(|from| (0..messages).filter(|n| addressee(from, *n) == to).count())
        .sum()
}

/// By sender and addressee, what was sent, in order.
fn all(messages: usize) -> BTreeMap<(usize, usize), Vec<usize>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for from in 0..CLIENTS {
        for n in 0..messages {
            all.entry((from, addressee(from, n))).or_default().push(n);
        }
    }
    all
}

fn judge_received(received: &[(u64, String)], member: &Member, messages: usize) {
    assert!(
        received
            .iter()
            .map(|(position, _)| *position)
            .eq(1..=received.len() as u64)
    );
    let mut there: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (_, line) in received {
        let (from, n) = line.split_once(": ").unwrap().1.split_once('-').unwrap();
        there
            .entry((from.parse().unwrap(), member.number))
            .or_default()
            .push(n.parse().unwrap());
    }
    let mut sent = all(messages);
    sent.retain(|(_, to), _| *to == member.number);
    assert!(
        there == sent,
        "client {} has other messages than were sent to it, or in another order",
        member.number
    );
    let mut shown: Vec<_> = member
        .shown
        .iter()
        .filter(|line| line.contains(": ") && line.contains('-') && !line.contains("->"))
        .filter(|line| !line.starts_with("waiting for"))
        .collect();
    let lines = shown.len();
    shown.sort();
    shown.dedup_by_key(|line| line.rsplit(' ').next());
    assert_eq!(
        shown.len(),
        lines,
        "client {} has shown something twice",
        member.number
    );
}

fn judge_log(logged: &[String], messages: usize) {
    let mut there: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for line in logged {
        let (clients, text) = line.rsplit_once(' ').unwrap();
        let (from, n) = text.split_once('-').unwrap();
        let to = clients.rsplit_once(":c").unwrap().1.parse().unwrap();
        there
            .entry((from.parse().unwrap(), to))
            .or_default()
            .push(n.parse().unwrap());
    }
    assert!(
        there == all(messages),
        "the log has other messages than were sent, or in another order"
    );
}
