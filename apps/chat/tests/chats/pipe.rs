//! Lines in, lines out, and the exit status.

use chat::transport::Over;

use crate::world::World;

pub(crate) fn what_is_refused_is_told_and_the_exit_status_says_so(over: Over) {
    let world = World::new(over);
    world.register(&["ana", "ben"]);
    for (line, told) in [
        (
            "/to nobody hello".to_owned(),
            "nobody is called nobody; /who lists everybody",
        ),
        ("hello".to_owned(), "to whom? /to NAME says it"),
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
        shown[0].contains("ana could not be registered"),
        "{shown:?}"
    );
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
