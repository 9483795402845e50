//! The services that `scripts/services` has started: their processes, and the programs beside theirs.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::Context as _;
use e2e::Services;
use serde_json::Value;

use crate::cpu::{self, Cpu};

/// A service of this machine.
pub struct Service {
    pid: u32,
    /// On the loopback.
    pub port: u16,
    program: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Service {
    /// The service called `name`, such as `redis` or `mongodb`.
    pub fn called(name: &str) -> anyhow::Result<Self> {
        Self::read(&Services::started()?[name])
            .with_context(|| format!("scripts/services tells of no service {name}"))
    }

    fn read(state: &Value) -> Option<Self> {
        let number = |key: &str| state[key].as_u64();
        let environment = state["env"].as_object()?.iter();
        let environment = environment.map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
        Some(Self {
            pid: number("pid")?.try_into().ok()?,
            port: number("port")?.try_into().ok()?,
            program: state["argv"][0].as_str()?.into(),
            environment: environment.collect::<Option<_>>()?,
        })
    }

    /// What it has had of the processors so far.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        cpu::of(self.pid)
    }

    /// A program that came with it; none if it did not.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<Command> {
        let program = self.program.with_file_name(name);
        program.exists().then(|| {
            let mut command = Command::new(program);
            command.envs(&self.environment);
            command
        })
    }
}
