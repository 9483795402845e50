//! The prompt, on a terminal.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

use chat::transport::Over;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::world::{World, once};

/// The side of it that people have: what appears, and where they type.
struct Terminal {
    keys: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// And the side that a process has.
    fn new() -> (Self, File) {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
        let process = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)
            .unwrap();
        let keys = File::from(keys);
        let (screen, mut output) = (
            Arc::new(Mutex::new(String::new())),
            keys.try_clone().unwrap(),
        );
        let written = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                written
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        (Self { keys, screen }, process)
    }

    fn presses(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this has appeared behind `from`; where it ends.
    fn shows(&self, text: &str, from: usize) -> usize {
        let mut end = None;
        once(text, || {
            let screen = self.screen.lock().unwrap();
            end = screen[from..].find(text).map(|at| from + at + text.len());
            end.is_some()
        });
        end.unwrap()
    }
}

/// Starts ana, who writes to ben, on a terminal.
fn terminal_client(world: &World, process: File) -> Child {
    let mut command = world.client_command("ana", world.folder_of("ana"));
    let process = || Stdio::from(process.try_clone().unwrap());
    command
        .args(["--to", "ben"])
        .env("TERM", "xterm")
        .stdin(process())
        .stdout(process())
        .stderr(process())
        .spawn()
        .unwrap()
}

#[test]
fn a_message_that_arrives_leaves_what_is_being_typed_as_it_is() {
    let world = World::new(Over::Grpc);
    world.register(&["ana", "ben"]);
    let (mut terminal, process) = Terminal::new();
    let mut ana = terminal_client(&world, process);
    terminal.shows("to ben> ", 0);
    terminal.presses("half a li");
    let typed = terminal.shows("half a li", 0);
    let mut ben = world.client("ben", &["--to", "ana"]);
    ben.type_line("news");
    let news = terminal.shows(" ben: news", typed);
    terminal.shows("to ben> half a li", news);
    terminal.presses("ne\r");
    ben.shows(" ana: half a line");
    // The line before, again.
    terminal.presses("\u{1b}[A\r");
    once("the same again", || world.logged().len() == 3);
    terminal.presses("/quit\r");
    once("ana ends", || {
        ana.try_wait()
            .unwrap()
            .is_some_and(|status| status.success())
    });
    let texts = world
        .logged()
        .into_iter()
        .filter(|line| line.ends_with("2:ben half a line"));
    assert_eq!(texts.count(), 2);
}

#[test]
fn a_server_that_is_away_is_told_above_what_is_being_typed() {
    let mut world = World::new(Over::Grpc);
    world.register(&["ana", "ben"]);
    let (mut terminal, process) = Terminal::new();
    let mut ana = terminal_client(&world, process);
    let shown = terminal.shows("to ben> ", 0);
    terminal.presses("half a li");
    let typed = terminal.shows("half a li", shown);
    world.kill_server();
    let told = terminal.shows("waiting for the server at http://", typed);
    let told = terminal.shows("to ben> half a li", told);
    world.start_server();
    let told = terminal.shows(" is back", told);
    terminal.shows("to ben> half a li", told);
    terminal.presses("ne\r");
    once("it is logged", || {
        world.logged() == ["1:ana -> 2:ben half a line"]
    });
    terminal.presses("/quit\r");
    once("ana ends", || {
        ana.try_wait()
            .unwrap()
            .is_some_and(|status| status.success())
    });
}
