//! What the system knows of this process, as every Prometheus client tells it: processor time, memory, open files.
//!
//! Read from `/proc` when it is asked for. Elsewhere than on Linux nothing is told. Written here and not by the
//! recorder, whose counters are whole numbers: half a second of processor time is not.

use std::{fmt::Write as _, fs};

/// Ticks of a second in `/proc`, on every Linux that we run on (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// In Prometheus' text format; empty where `/proc` cannot be read.
#[must_use]
pub fn exposition() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let open_fds = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let (stat, status, limits) = (
        read("/proc/self/stat"),
        read("/proc/self/status"),
        read("/proc/self/limits"),
    );
    told(&stat, &status, &limits, &read("/proc/stat"), open_fds).unwrap_or_default()
}

/// `stat`, `status` and `limits` are of this process, `system` is `/proc/stat`.
fn told(stat: &str, status: &str, limits: &str, system: &str, open_fds: usize) -> Option<String> {
    // The name, in brackets, may have blanks in it; what follows begins with field 3 (proc_pid_stat(5)).
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let cpu = (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND;
    let number = |text: &str, name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    let started = number(system, "btime ")? + ticks(22)? / TICKS_PER_SECOND;
    let mut text = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
            );
        }
    };
    let kib = |name| number(status, name).map(|kib| kib * 1024.0);
    tell(
        "process_cpu_seconds_total",
        "counter",
        "Processor time of all threads, user and system",
        Some(cpu),
    );
    tell(
        "process_resident_memory_bytes",
        "gauge",
        "Memory that is resident",
        kib("VmRSS:"),
    );
    tell(
        "process_virtual_memory_bytes",
        "gauge",
        "Memory that is mapped, resident or not",
        kib("VmSize:"),
    );
    tell(
        "process_threads",
        "gauge",
        "Threads",
        number(status, "Threads:"),
    );
    tell(
        "process_open_fds",
        "gauge",
        "Open files, sockets among them",
        Some(open_fds as f64),
    );
    tell(
        "process_max_fds",
        "gauge",
        "Open files that there may be",
        number(limits, "Max open files"),
    );
    tell(
        "process_start_time_seconds",
        "gauge",
        "When the process was started, in seconds since 1970",
        Some(started),
    );
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_in_the_units_of_its_names() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 0 0 0 150 75 0 0 20 0 5 0 30050 100 20 18446744073709551615";
        let status = "Name:\ta\nVmSize:\t  2000 kB\nVmRSS:\t   1000 kB\nThreads:\t5\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        let text = told(stat, status, limits, "cpu 1 2\nbtime 1000\n", 9).expect("all is there");
        let values: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        assert_eq!(
            values,
            [
                "process_cpu_seconds_total 2.25",
                "process_resident_memory_bytes 1024000",
                "process_virtual_memory_bytes 2048000",
                "process_threads 5",
                "process_open_fds 9",
                "process_max_fds 1024",
                "process_start_time_seconds 1300.5",
            ]
        );
        assert_eq!(told("", status, limits, "", 9), None);
    }
}
