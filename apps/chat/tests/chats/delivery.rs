//! What is sent comes, once, and is in the log before anybody is told so.

use chat::{
    client::patience::patiently,
    message::{ClientId, Last, Message},
    text::now_ms,
    transport::{Channel, FromServer, Over, ToServer},
};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::world::{DEADLINE, World, once};

pub(crate) fn what_is_sent_arrives_at_once_and_waits_for_who_is_away(over: Over) {
    let world = World::new(over);
    world.register(&["ana", "ben"]);
    let (mut ana, ben) = (
        world.client("ana", &["--to", "ben"]),
        world.client("ben", &[]),
    );
    ana.type_line("you are there");
    ben.shows(" ana: you are there");
    ben.kill();
    ana.type_line("you are away");
    ana.type_line("two\tof them \\ \u{1b}[2J");
    ana.type_line("/sent");
    ana.shows("3 sent");
    let ben = world.client("ben", &[]);
    ben.shows(" ana: two\\tof them \\\\ \\u{1b}[2J");
    let (status, shown) = ben.end();
    assert!(status.success());
    assert!(shown[0].ends_with(" ana: you are away"), "{shown:?}");
    assert_eq!(shown.len(), 2, "{shown:?}");
}

fn message(text: &str) -> Message {
    Message {
        id: Uuid::now_v7(),
        from: ClientId(1),
        to: ClientId(2),
        at_ms: now_ms(),
        text: text.into(),
    }
}

async fn next(channel: &mut Channel) -> FromServer {
    let told = tokio::time::timeout(DEADLINE, channel.from_server.recv()).await;
    told.expect("the server says something in time")
        .unwrap()
        .unwrap()
}

async fn receipt(channel: &mut Channel) -> Uuid {
    match next(channel).await {
        FromServer::Receipt(receipt) if receipt.refusal.is_none() => receipt.id,
        other => panic!("{other:?}"),
    }
}

async fn send(channel: &Channel, message: &Message) {
    channel
        .to_server
        .send(ToServer::Send(message.clone()))
        .await
        .unwrap();
}

#[tokio::main]
pub(crate) async fn what_is_sent_again_is_delivered_once(over: Over) {
    let mut world = World::new(over);
    world.register(&["ana", "ben"]);
    let (first, second, last) = (message("first"), message("second"), message("last"));
    // On one channel, on another one, and after the server has been killed.
    let transport = world.transport();
    let mut channel = transport.open(world.who(1), Last::default()).await.unwrap();
    for message in [&first, &second, &first] {
        send(&channel, message).await;
    }
    for id in [first.id, second.id, first.id] {
        assert_eq!(receipt(&mut channel).await, id);
    }
    world.kill_server();
    world.start_server();
    drop((channel, transport));
    let transport = world.transport();
    // The broker may not have noticed yet that the one before is gone.
    let mut channel = patiently(DEADLINE, async || {
        transport.open(world.who(1), Last::default()).await
    })
    .await
    .unwrap();
    for message in [&second, &first, &last] {
        send(&channel, message).await;
        assert_eq!(receipt(&mut channel).await, message.id);
    }
    let ben = world.client("ben", &[]);
    ben.shows(" ana: last");
    ben.end();
    let received = world.received("ben");
    let expected = ["first", "second", "last"].map(|text| format!("ana: {text}"));
    assert_eq!(received, (1..).zip(expected).collect::<Vec<_>>());
    assert_eq!(world.logged().len(), 3);
}

#[tokio::main]
pub(crate) async fn what_is_answered_is_in_the_log(over: Over) {
    let world = World::new(over);
    world.register(&["ana", "ben"]);
    let transport = world.transport();
    let mut channel = transport.open(world.who(1), Last::default()).await.unwrap();
    let messages: Vec<_> = (0..200).map(|n| message(&format!("text {n}"))).collect();
    for message in &messages {
        send(&channel, message).await;
    }
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(receipt(&mut channel).await, message.id);
        let logged = world.logged();
        assert_eq!(logged.get(n), Some(&format!("1:ana -> 2:ben text {n}")));
    }
}

pub(crate) fn a_slow_reader_holds_nobody_up_and_loses_nothing(over: Over) {
    const MESSAGES: usize = 3000;
    let world = World::new(over);
    world.register(&["ana", "ben", "cy"]);
    let (ben, cy) = (world.client("ben", &[]), world.client("cy", &[]));
    let mut ana = world.client("ana", &["--to", "ben"]);
    let signal = |signal| kill_process(Pid::from_raw(ben.pid() as i32).unwrap(), signal).unwrap();
    ana.type_line("before");
    ben.shows(" ana: before");
    signal(Signal::STOP);
    for n in 0..MESSAGES {
        ana.type_line(&format!("{n} {}", "x".repeat(1000)));
    }
    ana.type_line("/to cy and you?");
    cy.shows(" ana: and you?");
    signal(Signal::CONT);
    once("everything has come", || {
        world.received("ben").len() == MESSAGES + 1
    });
    let positions = world
        .received("ben")
        .into_iter()
        .map(|(position, _)| position);
    assert!(positions.eq(1..=MESSAGES as u64 + 1));
    assert!(ana.end().0.success());
}
