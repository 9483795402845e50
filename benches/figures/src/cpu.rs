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
    let [user, system, ..] = times(pid)?;
    Ok(Cpu { user, system })
}

/// What process `pid` has had so far with those that it has started, whether they run or have ended.
pub fn of_family(pid: u32) -> anyhow::Result<Duration> {
    loop {
        let before = times(pid)?;
        let mut sum: Duration = before.iter().sum();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let child = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(child) = child.filter(|child| parent(*child) == Some(pid)) {
                sum += times(child).map_or(Duration::ZERO, |times| times.iter().sum());
            }
        }
        // One that has ended meanwhile may be in neither, or in both: again.
        if times(pid)?[2..] == before[2..] {
            return Ok(sum);
        }
    }
}

/// What those have had that this process has started, and that have ended.
pub fn of_children() -> anyhow::Result<Duration> {
    let [_, _, user, system] = times(std::process::id())?;
    Ok(user + system)
}

fn parent(pid: u32) -> Option<u32> {
    fields(pid)
        .ok()?
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Of itself in its own code and in the kernel, and the same of children that have ended.
fn times(pid: u32) -> anyhow::Result<[Duration; 4]> {
    // utime, stime, cutime and cstime are fields 14 to 17, of which the first two are not here.
    let fields = fields(pid)?;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let times: Vec<_> = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .map(|ticks| Duration::from_secs_f64(ticks as f64 / per_second))
        .collect();
    let times = times.try_into().ok();
    times.with_context(|| format!("/proc/{pid}/stat: {fields}"))
}

/// Of `/proc/PID/stat`, what comes behind the name, which may hold anything.
fn fields(pid: u32) -> anyhow::Result<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    Ok(stat.rsplit(')').next().unwrap_or_default().to_owned())
}
