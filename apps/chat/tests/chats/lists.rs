//! Who there is, and what each has sent.

use chat::transport::Over;

use crate::world::{Client, World};

pub(crate) fn everybody_is_listed_and_what_each_has_sent(over: Over) {
    let mut world = World::new(over);
    world.register(&["ana", "ben", "ñandú"]);
    let mut ana = world.client("ana", &["--to", "ben"]);
    ana.type_line("one");
    ana.type_line("/to ñandú two");
    ana.type_line("/sent");
    ana.shows("2 sent");
    ana.end();
    // More than a page, and by a server that has just started.
    world.kill_server();
    world.start_server();
    let mut ben = world.client("ben", &["--to", "ana"]);
    for n in 0..600 {
        ben.type_line(&format!("text {n}"));
    }
    ben.type_line("/sent");
    ben.shows("600 sent");
    ben.type_line("/who");
    let (status, shown) = ben.end();
    assert!(status.success());
    let sent: Vec<_> = shown
        .iter()
        .filter_map(|line| line.split_once("-> ana: "))
        .map(|(_, text)| text.to_owned())
        .collect();
    assert_eq!(
        sent,
        (0..600).map(|n| format!("text {n}")).collect::<Vec<_>>()
    );
    let who = shown.iter().filter(|line| line.contains("  since "));
    let names: Vec<_> = who
        .map(|line| {
            line.split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(names, ["1 ana", "2 ben", "3 ñandú"]);
}

pub(crate) fn a_folder_of_another_server_is_told(over: Over) {
    let there = World::new(over);
    there.register(&["ana"]);
    let mut ana = there.client("ana", &["--to", "ana"]);
    ana.type_line("to myself");
    ana.shows(" ana: to myself");
    assert!(ana.end().0.success());
    let here = World::new(over);
    let (status, shown) =
        Client::spawn(&mut here.client_command("ana", there.folder_of("ana"))).end();
    assert_eq!(status.code(), Some(1));
    assert!(shown[0].contains("it is another server"), "{shown:?}");
}

pub(crate) fn a_name_is_one_clients(over: Over) {
    let mut world = World::new(over);
    world.register(&["ana", "ben"]);
    let from_elsewhere = |world: &World, name: &str| {
        let folder = world.folder_of("elsewhere").join(name);
        Client::spawn(&mut world.client_command(name, folder)).end()
    };
    for _ in 0..2 {
        let (status, shown) = from_elsewhere(&world, "ana");
        assert_eq!(status.code(), Some(1));
        assert!(shown[0].contains("the name ana is taken"), "{shown:?}");
        let (status, shown) = from_elsewhere(&world, "a:b");
        assert_eq!(status.code(), Some(1));
        assert!(shown[0].contains("letters, digits"), "{shown:?}");
        world.register(&["ana"]);
        world.kill_server();
        world.start_server();
    }
}
