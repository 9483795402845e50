//! Names, ports and files that no other pipeline has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Below those that the system gives to outgoing connections, or one of them could sit on a port
/// while its process restarts.
const PORTS: std::ops::Range<u16> = 12_000..20_000;
/// The file of the wasm-producer's module: as the environment says, or where `scripts/wasm` puts it.
#[must_use]
pub fn wasm_module() -> PathBuf {
    wasm_files()["AGUACERO_WASM_PRODUCER_MODULE"].clone().into()
}

/// That file and the one with its sum, by the variables that name them.
pub(super) fn wasm_files() -> BTreeMap<String, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm/producer.wasm");
    let built = built.display().to_string();
    let files = [
        ("wasm_producer.module", built.clone()),
        ("wasm_producer.sha256_file", format!("{built}.sha256")),
    ];
    let variables = files.map(|(key, file)| {
        let name = variable(key);
        let file = std::env::var(&name).unwrap_or(file);
        (name, file)
    });
    variables.into()
}

/// `gateway.listen` as the environment spells it.
pub(crate) fn variable(key: &str) -> String {
    format!("AGUACERO_{}", key.replace('.', "_").to_uppercase())
}

pub(super) fn socket(folder: &Path, name: &str) -> String {
    let path: PathBuf = folder.join(format!("{name}.sock"));
    path.display().to_string()
}

/// The running test's own name, fit for a topic.
pub(super) fn test_name() -> String {
    let thread = std::thread::current();
    let name = thread
        .name()
        .unwrap_or("test")
        .replace("::", "-")
        .replace('_', "-");
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(80)
        .collect()
}

/// What no other test and no earlier run has had.
pub(super) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    format!(
        "{now:x}-{:x}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// An address on which nobody listens now, and that no other test of this process is given.
pub(super) fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = u64::from(std::process::id()) * 7919 + given.len() as u64 * 13;
    let span = u64::from(PORTS.end - PORTS.start);
    let ports = (0..span).map(|i| PORTS.start + ((seed + i) % span) as u16);
    let free = |port: &u16| {
        !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    let port = ports.into_iter().find(free).expect("a free port");
    given.insert(port);
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
