//! The RabbitMQ that `scripts/services` has started: where it is, killed, and started again as the same one.

use std::{
    env,
    fs::OpenOptions,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::once;

pub(crate) fn url() -> String {
    env::var("AGUACERO_RABBITMQ_URL").unwrap_or_else(|_| panic!("these tests need a RabbitMQ: run `scripts/test unit`, or `scripts/services run --only rabbitmq -- cargo test -p chat`"))
}

fn service() -> Value {
    let file = env::var("AGUACERO_SERVICES_STATE").expect("scripts/services has started RabbitMQ");
    let mut state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    state["services"]["rabbitmq"].take()
}

/// All processes whose working directory is the broker's folder and whose program is its virtual machine: it may have been
/// started again before.
fn pids(service: &Value) -> Vec<i32> {
    let is = |pid: i32, link: &str, target: &Value| {
        let there = std::fs::read_link(format!("/proc/{pid}/{link}")).ok();
        there.is_some_and(|path| path.to_str() == target.as_str())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is(*pid, "cwd", &service["data"]) && is(*pid, "exe", &service["program"]))
        .collect()
}

/// SIGKILL.
pub(crate) fn kill() {
    let service = service();
    for pid in pids(&service) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    once("RabbitMQ has ended", || pids(&service).is_empty());
}

/// Waits until it takes connections.
pub(crate) fn start() {
    let service = service();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let words: Vec<_> = service["argv"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let variables = service["env"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name, text(value)));
    let log = OpenOptions::new()
        .append(true)
        .open(text(&service["log"]))
        .unwrap();
    Command::new(&words[0])
        .args(&words[1..])
        .envs(variables)
        .current_dir(text(&service["data"]))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let port = service["port"].as_u64().unwrap() as u16;
    once("RabbitMQ is there again", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}
