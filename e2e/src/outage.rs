//! A service that is killed, and comes back on the same port with the same data. All tests of a run
//! share the services, so tests that do this stand in a file of their own, which cargo runs alone.

use std::{path::Path, process::Command};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::spawn_blocking,
};

/// One outage at a time.
static ONE: Mutex<()> = Mutex::const_new(());

/// The services that may be killed: those that `scripts/services` has started.
pub struct Outages {
    name: String,
    state: String,
    _one: MutexGuard<'static, ()>,
}

impl Outages {
    /// Waits for its turn.
    pub async fn prepare() -> Self {
        let state = std::env::var("AGUACERO_SERVICES_STATE");
        let state = state.expect(
            "only services that scripts/services has started can be killed: run `make test`",
        );
        let one = ONE.lock().await;
        let name = read(&state)["name"].as_str().expect("a name").to_owned();
        Self {
            name,
            state,
            _one: one,
        }
    }

    /// Kills `kafka`, `mongodb` or `redis`.
    pub fn begin(&self, service: &str) {
        self.signal(service, Signal::KILL);
    }

    /// Stops one without ending it: it holds its connections and does not answer.
    pub fn freeze(&self, service: &str) {
        self.signal(service, Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self, service: &str) {
        self.signal(service, Signal::CONT);
    }

    fn signal(&self, service: &str, signal: Signal) {
        let pid = read(&self.state)["services"][service]["pid"]
            .as_i64()
            .expect("a pid");
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{service}: {e}"));
    }

    /// Starts what is down, and waits until it answers.
    pub async fn end(&self) {
        let mut up = self.up();
        let output = spawn_blocking(move || up.output())
            .await
            .expect("joined")
            .expect("scripts/services");
        assert!(output.status.success(), "{output:?}");
    }

    fn up(&self) -> Command {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services");
        let mut up = Command::new(services);
        up.args(["up", "--name", &self.name]);
        up
    }
}

impl Drop for Outages {
    fn drop(&mut self) {
        if std::thread::panicking() {
            _ = self.up().output(); // for the tests that come next
        }
    }
}

fn read(state: &str) -> Value {
    let text = std::fs::read(state).unwrap_or_else(|e| panic!("{state}: {e}"));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{state}: {e}"))
}
