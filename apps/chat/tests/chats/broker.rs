//! A RabbitMQ that `scripts/services` has started: that of all tests, or one that may be killed.

use std::{
    env,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::once;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services");

/// That of all tests.
pub(crate) fn url() -> String {
    env::var("AGUACERO_RABBITMQ_URL").unwrap_or_else(|_| {
        panic!(
            "these tests need a RabbitMQ: run `scripts/test unit`, \
             or `scripts/services run --only rabbitmq -- cargo test -p chat`"
        )
    })
}

/// One of its own, which ends with the test.
pub(crate) struct Broker {
    name: String,
    state: Value,
}

impl Broker {
    pub(crate) fn own() -> Self {
        let name = format!("chat-{}", std::process::id());
        services(&["up", "--name", &name, "--only", "rabbitmq"]);
        let file = format!("{}/../../.run/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let state = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        Self { name, state }
    }

    pub(crate) fn url(&self) -> String {
        text(&self.state["env"]["AGUACERO_RABBITMQ_URL"])
    }

    fn service(&self) -> &Value {
        &self.state["services"]["rabbitmq"]
    }

    /// The processes whose working directory is the broker's folder and whose program is its virtual machine.
    fn pids(&self) -> Vec<i32> {
        let is = |pid: i32, link: &str, target: &str| {
            let there = std::fs::read_link(format!("/proc/{pid}/{link}")).ok();
            there.is_some_and(|path| path.to_str() == self.service()[target].as_str())
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| is(*pid, "cwd", "data") && is(*pid, "exe", "program"))
            .collect()
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        for pid in self.pids() {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        }
        once("RabbitMQ has ended", || self.pids().is_empty());
    }

    /// Waits until it takes connections.
    pub(crate) fn start(&self) {
        services(&["up", "--name", &self.name, "--only", "rabbitmq"]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        services(&["down", "--name", &self.name]);
    }
}

fn services(arguments: &[&str]) {
    let status = Command::new(SCRIPT)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "scripts/services {}", arguments.join(" "));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
