//! The memory of a process, from /proc.

use std::fs;

/// Of a process that may be known.
pub(crate) struct Memory {
    pid: Option<u32>,
}

impl Memory {
    pub(crate) fn of(pid: Option<u32>) -> Self {
        Self { pid }
    }

    /// Bytes that are resident now; the peak is counted from here on.
    pub(crate) fn begin(&self) -> Option<u64> {
        // 5 resets the peak (proc_pid_clear_refs(5)). Where that is not allowed, it is of all the time.
        _ = fs::write(format!("/proc/{}/clear_refs", self.pid?), "5");
        self.read("VmRSS:")
    }

    /// Bytes that were resident at most.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.read("VmHWM:")
    }

    fn read(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    }
}
