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
    // As a build that knew of no ids of logs has left it.
    let identity = there.folder_of("ana").join("identity.txt");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, text.rsplit_once(' ').unwrap().0).unwrap();
    let (status, shown) =
        Client::spawn(&mut here.client_command("ana", there.folder_of("ana"))).end();
    assert_eq!(status.code(), Some(1));
    assert!(shown[0].contains("it is an older copy"), "{shown:?}");
    there.register(&["ana"]);
    assert_eq!(std::fs::read_to_string(&identity).unwrap(), text);
    // Nor is anybody registered there by it.
    here.register(&["ben"]);
    let mut ben = here.client("ben", &[]);
    ben.type_line("/who");
    let (_, shown) = ben.end();
    assert_eq!(shown.len(), 1, "{shown:?}");
}

pub(crate) fn a_name_that_is_refused_leaves_no_folder(over: Over) {
    let world = World::new(over);
    world.register(&["ana"]);
    let place = world.folder_of("elsewhere");
    for (name, told) in [
        ("", "does not begin with a dot"),
        (".", "does not begin with a dot"),
        ("..", "does not begin with a dot"),
        ("a/b", "does not begin with a dot"),
        ("ana", "the name ana is taken"),
    ] {
        // As it is without --folder, and with a folder that there is not.
        let mut command = world.client_command(name, place.join("folder"));
        let (status, shown) = Client::spawn(&mut command).end();
        assert_eq!(status.code(), Some(1), "{name:?}: {shown:?}");
        assert!(shown[0].contains(told), "{name:?}: {shown:?}");
        assert!(!place.exists(), "{name:?}");
    }
    // What was there before stays.
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("notes"), "mine").unwrap();
    let (status, _) = Client::spawn(&mut world.client_command("ana", place.clone())).end();
    assert_eq!(status.code(), Some(1));
    let left = std::fs::read_dir(&place).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
}

pub(crate) fn registrations_are_bounded_and_who_is_registered_still_comes(over: Over) {
    let mut world = World::without_server(over);
    world.start_server_with(&["--clients-max", "2"]);
    world.register(&["ana", "ben"]);
    for _ in 0..2 {
        let (status, shown) = world.client("carla", &[]).end();
        assert_eq!(status.code(), Some(1));
        assert!(
            shown[0].contains("2 clients are registered here")
                && shown[0].contains("--clients-max"),
            "{shown:?}"
        );
        assert!(!world.folder_of("carla").exists());
        world.register(&["ana", "ben"]);
        world.kill_server();
        world.start_server_with(&["--clients-max", "2"]);
    }
    world.kill_server();
    world.start_server_with(&["--clients-max", "3"]);
    world.register(&["carla"]);
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

#[test]
fn of_two_with_copies_of_one_folder_the_first_ends_and_says_why() {
    let world = World::new(Over::Grpc);
    world.register(&["ana", "ben"]);
    let copy = world.folder_of("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["identity.txt", "outbox.txt", "received.txt"] {
        std::fs::copy(world.folder_of("ben").join(file), copy.join(file)).unwrap();
    }
    let mut ana = world.client("ana", &["--to", "ben"]);
    let first = world.client("ben", &[]);
    ana.type_line("to the first");
    first.shows(" ana: to the first");
    let second = Client::spawn(&mut world.client_command("ben", copy));
    second.shows(" ana: to the first");
    first.says("this client has come once more");
    let (status, shown) = first.end();
    assert_eq!(status.code(), Some(1), "{shown:?}");
    ana.type_line("to the second");
    second.shows(" ana: to the second");
    for client in [ana, second] {
        assert!(client.end().0.success());
    }
}
