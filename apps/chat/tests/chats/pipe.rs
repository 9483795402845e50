//! Lines in, lines out, and the exit status.

use std::{net::TcpListener, process::Command};

use chat::transport::Over;

use crate::world::{Client, World, once};

pub(crate) fn what_is_refused_is_told_and_the_exit_status_says_so(over: Over) {
    let world = World::new(over);
    world.register(&["ana", "ben"]);
    for (line, told) in [
        (
            "/to nobody hello".to_owned(),
            "nobody is called nobody; /who lists everybody",
        ),
        ("hello".to_owned(), "to whom? /to NAME says it"),
        ("/to".to_owned(), "to whom? /to NAME says it"),
        ("/dance".to_owned(), "there is no /dance; there is /help"),
        (
            format!("/to ben {}", "x".repeat(5000)),
            "a text has 1 to 4096 bytes, and this one 5000",
        ),
    ] {
        let mut ana = world.client("ana", &[]);
        ana.type_line(&line);
        let (status, shown) = ana.end();
        assert_eq!(
            (status.code(), &shown[..]),
            (Some(1), &[told.to_owned()][..]),
            "{line}"
        );
    }
    let mut ana = world.client("ana", &["--to", "ben"]);
    ana.type_line("/to nobody");
    ana.type_line("not for ben");
    let (status, shown) = ana.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        shown.last().map(String::as_str),
        Some("to whom? /to NAME says it")
    );
    let mut ana = world.client("ana", &["--to", "ben"]);
    ana.type_line(&"x".repeat(4096));
    ana.type_line("/quit");
    ana.type_line("this is behind the end");
    assert!(ana.end().0.success());
    assert_eq!(world.logged().len(), 1);
}

pub(crate) fn a_server_that_is_away_is_waited_for_and_nothing_typed_is_lost(over: Over) {
    let mut world = World::without_server(over);
    let ana = world.client("ana", &["--patience", "1"]);
    let (status, shown) = ana.end();
    assert_eq!(status.code(), Some(1));
    assert!(
        shown[0].starts_with("waiting for the server at ") && shown[0].contains(" for 1 s ("),
        "{shown:?}"
    );
    assert!(
        shown[1].contains("ana could not be registered"),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 2, "{shown:?}");
    world.start_server();
    world.register(&["ana", "ben"]);
    let mut ana = world.client("ana", &["--to", "ben", "--patience", "1"]);
    ana.type_line("one");
    ana.type_line("/sent");
    ana.shows("1 sent");
    world.kill_server();
    ana.type_line("two");
    let (status, shown) = ana.end();
    assert_eq!(status.code(), Some(1), "{shown:?}");
    let left = shown.last().unwrap();
    assert!(
        left.starts_with("1 of your messages are not with the server yet"),
        "{left}"
    );
    world.start_server();
    world.register(&["ana"]);
    assert_eq!(world.logged(), ["1:ana -> 2:ben one", "1:ana -> 2:ben two"]);
}

pub(crate) fn that_the_server_is_away_is_said_once_and_that_it_is_back(over: Over) {
    let mut world = World::new(over);
    world.register(&["ana", "ben"]);
    let mut ana = world.client("ana", &["--to", "ben"]);
    ana.type_line("/sent");
    ana.shows("0 sent");
    world.kill_server();
    ana.type_line("it rains");
    let about_the_server = || {
        let about = |line: &String| line.contains("the server at ");
        ana.shown().into_iter().filter(about).collect::<Vec<_>>()
    };
    once("it is said", || !about_the_server().is_empty());
    if over == Over::Grpc {
        // It is tried again and again.
        let door = TcpListener::bind(world.address()).unwrap();
        for _ in 0..3 {
            door.accept().unwrap();
        }
    }
    world.start_server();
    once("it is back", || about_the_server().len() >= 2);
    let told = about_the_server();
    assert!(
        told[0].starts_with("waiting for the server at ")
            && told[0].contains("; what you write is kept"),
        "{told:?}"
    );
    assert!(told[1].ends_with(" is back"), "{told:?}");
    let (status, shown) = ana.end();
    assert!(status.success());
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!(world.logged(), ["1:ana -> 2:ben it rains"]);
}

/// As on a disk that is full: no file gets longer than some KiB.
fn with_little_room(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 32; trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    limited
}

pub(crate) fn what_cannot_be_kept_is_told_and_the_rest_is_sent_later(over: Over) {
    let world = World::new(over);
    world.register(&["ana"]);
    let mut command = world.client_command("ana", world.folder_of("ana"));
    command.args(["--to", "ana"]);
    let mut ana = Client::spawn(&mut with_little_room(&command));
    for n in 0..100 {
        ana.type_line(&format!("text-{n} {}", "x".repeat(1000)));
    }
    let (status, shown) = ana.end();
    assert_eq!(status.code(), Some(1), "{shown:?}");
    let number = |line: &str| {
        let (_, behind) = line.split_once("text-")?;
        behind.split_once(' ')?.0.parse::<usize>().ok()
    };
    let told = shown.iter().filter(|line| line.starts_with("not sent: "));
    let not_sent: Vec<_> = told.filter_map(|line| number(line)).collect();
    let mut ana = world.client("ana", &[]);
    ana.type_line("/sent");
    let (status, shown) = ana.end();
    assert!(status.success(), "{shown:?}");
    let sent = shown.iter().filter(|line| line.contains(" -> ana: "));
    let sent: Vec<_> = sent.filter_map(|line| number(line)).collect();
    // Of what was taken from the input, each is one or the other.
    assert!(!sent.is_empty() && !not_sent.is_empty(), "{sent:?}");
    let all = [sent, not_sent].concat();
    assert!(all.iter().copied().eq(0..all.len()), "{all:?}");
}
