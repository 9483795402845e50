//! Processor time of processes, as the kernel has counted it.

use std::time::Duration;

use anyhow::Context as _;

/// Joules of a second of a busy processor, where no meter tells: a model (`docs/energy.md`).
pub const JOULES_OF_A_SECOND: f64 = 4.11;

/// What a process has had of the processors.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// In its own code: what another way of writing it changes.
    pub user: Duration,
    /// In the kernel, on its behalf.
    pub system: Duration,
}

impl Cpu {
    /// Both.
    #[must_use]
    pub fn all(self) -> Duration {
        self.user + self.system
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

/// What process `pid` has had so far; in steps of 10 ms.
pub fn of(pid: u32) -> anyhow::Result<Cpu> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut time = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_secs_f64(ticks as f64 / per_second))
    };
    let (user, system) = time()
        .zip(time())
        .with_context(|| format!("/proc/{pid}/stat: {stat}"))?;
    Ok(Cpu { user, system })
}
