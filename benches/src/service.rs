//! The services that `scripts/services` has started: their processes, and the programs beside theirs.

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command};

use anyhow::Context as _;
use serde_json::Value;

use crate::cpu::{self, Cpu};

/// Where `scripts/services` says which it has started.
const STATE: &str = "AGUACERO_SERVICES_STATE";

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
        let file = env::var_os(STATE)
            .with_context(|| format!("{STATE} is not set: run this by scripts/services"))?;
        let file = PathBuf::from(file);
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        let state: Value =
            serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        Self::read(&state["services"][name])
            .with_context(|| format!("{} tells of no service {name}", file.display()))
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
