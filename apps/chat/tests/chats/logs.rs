//! Which log a server has: another one, an older copy, one whose last line a kill has left without its end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chat::transport::Over;

use crate::world::{Client, World, once};

/// Where the folder of the server is laid meanwhile.
fn aside(world: &World) -> PathBuf {
    world.server_folder().with_file_name("aside")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::copy(from.join("log.txt"), to.join("log.txt")).unwrap();
}

/// Waits until it ends by itself, with an error that has this.
fn ends_with(client: Client, told: &str) {
    client.says(told);
    let (status, shown) = client.end();
    assert_eq!(status.code(), Some(1), "{shown:?}");
}

pub(crate) fn a_server_that_comes_back_with_another_log_gets_and_gives_nothing(over: Over) {
    let mut world = World::new(over);
    world.register(&["ana", "ben"]);
    let (mut ana, ben) = (
        world.client("ana", &["--to", "ben"]),
        world.client("ben", &[]),
    );
    ana.type_line("one");
    ben.shows(" ana: one");
    world.kill_server();
    ana.type_line("two");
    let outbox = world.folder_of("ana").join("outbox.txt");
    once("it is kept", || {
        fs::read_to_string(&outbox).unwrap().contains(" two\n")
    });
    // With an empty folder, where others get the same numbers.
    fs::rename(world.server_folder(), aside(&world)).unwrap();
    world.start_server();
    world.register(&["zoe", "yan"]);
    let mut zoe = world.client("zoe", &["--to", "yan"]);
    zoe.type_line("elsewhere");
    let yan = world.client("yan", &[]);
    yan.shows(" zoe: elsewhere");
    ends_with(
        ana,
        "it is another server, or was started with another folder",
    );
    ends_with(
        ben,
        "it is another server, or was started with another folder",
    );
    for client in [zoe, yan] {
        assert!(client.end().0.success());
    }
    assert_eq!(world.logged(), ["1:zoe -> 2:yan elsewhere"]);
    assert_eq!(world.received("yan"), [(1, "zoe: elsewhere".to_owned())]);
    // With its own again.
    world.kill_server();
    fs::remove_dir_all(world.server_folder()).unwrap();
    fs::rename(aside(&world), world.server_folder()).unwrap();
    world.start_server();
    world.register(&["ana"]);
    let ben = world.client("ben", &[]);
    ben.shows(" ana: two");
    assert!(ben.end().0.success());
    let expected = [(1, "ana: one".to_owned()), (2, "ana: two".to_owned())];
    assert_eq!(world.received("ben"), expected);
}

pub(crate) fn a_server_that_comes_back_with_an_older_copy_is_told_to_who_has_more(over: Over) {
    let mut world = World::new(over);
    world.register(&["ana", "ben"]);
    let (mut ana, ben) = (
        world.client("ana", &["--to", "ben"]),
        world.client("ben", &[]),
    );
    ana.type_line("one");
    ben.shows(" ana: one");
    copy(&world.server_folder(), &aside(&world));
    ana.type_line("two");
    ben.shows(" ana: two");
    world.kill_server();
    copy(&aside(&world), &world.server_folder());
    world.start_server();
    // In the place of "two".
    ana.type_line("three");
    ends_with(ben, "it is an older copy");
    ends_with(world.client("ben", &[]), "it is an older copy");
    assert!(ana.end().0.success());
    let expected = [(1, "ana: one".to_owned()), (2, "ana: two".to_owned())];
    assert_eq!(world.received("ben"), expected);
    // Who is not in it at all gets no other number.
    world.register(&["carla"]);
    world.kill_server();
    copy(&aside(&world), &world.server_folder());
    world.start_server();
    ends_with(world.client("carla", &[]), "it is an older copy");
    world.register(&["dora"]);
}

#[test]
fn a_line_that_a_kill_has_left_without_its_end_is_cut_off_and_the_server_says_so() {
    let mut world = World::new(Over::Grpc);
    world.register(&["ana"]);
    world.kill_server();
    let path = world.server_folder().join("log.txt");
    let log = fs::read_to_string(&path).unwrap();
    let line = log.lines().last().unwrap().replace("1:ana", "2:ben");
    for torn in [&line[..line.len() - 5], &line] {
        fs::write(&path, format!("{log}{torn}")).unwrap();
        let said = world.start_server_and_hear();
        let what = format!(
            "cut off the last {} bytes, from byte {} on",
            torn.len(),
            log.len()
        );
        assert!(said.contains("log.txt") && said.contains(&what), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), log);
    }
    assert_eq!(world.start_server_and_hear(), "");
}
