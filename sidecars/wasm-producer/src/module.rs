//! The module: named in the configuration with its SHA-256, and looked at again while the process runs.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aguacero::{config::WasmProducer, log_limiter, shutdown::Shutdown};
use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use wasm_producer_interface::{EXPORTS, VERSION};
use wasmtime::{Config, Engine};

use crate::{instance::Instance, metric};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often an instance that runs too long is noticed, within `call_timeout`.
pub(crate) const TICKS: u32 = 4;
/// Bytes of a module, and of a file with its sum: what is larger is none.
const MODULE_BYTES_MAX: u64 = 64 << 20;
const SUM_BYTES_MAX: u64 = 4 << 10;
/// In the log: a file was changed into something that is not run.
const REFUSED: &str = "the module that is there now is not run; the one before goes on";

/// A module that may be run.
pub(crate) struct Module {
    pub(crate) compiled: wasmtime::Module,
    pub(crate) sha256: String,
    pub(crate) memory_bytes_max: usize,
}

/// A module with the declared sum.
pub(crate) struct Verified {
    bytes: Vec<u8>,
    sha256: String,
}

/// Reads modules. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Loader {
    engine: Engine,
    file: PathBuf,
    sum: Sum,
    memory_bytes_max: usize,
}

/// Where the SHA-256 of what may be run stands.
#[derive(Clone)]
enum Sum {
    Here(String),
    File(PathBuf),
}

/// When files were last changed, and which they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(u64, u64, i64, i64)>>);

impl Loader {
    /// By the table `[wasm_producer]`; what is missing there is told together.
    pub(crate) fn new(table: &WasmProducer) -> anyhow::Result<Self> {
        let mut missing = Vec::new();
        if table.module.is_none() {
            missing.push(
                "wasm_producer.module: names no module; scripts/wasm builds one (target/wasm/producer.wasm)",
            );
        }
        let sum = match (&table.sha256, &table.sha256_file) {
            (Some(sum), _) => Some(Sum::Here(sum.clone())),
            (None, Some(file)) => Some(Sum::File(file.clone())),
            (None, None) => None,
        };
        if sum.is_none() {
            missing.push(
                "wasm_producer.sha256: says of no module that it may be run; take what sha256sum prints of it, or name a file \
                 with that by sha256_file",
            );
        }
        let (Some(file), Some(sum)) = (table.module.clone(), sum) else {
            bail!("{}", missing.join("\n"));
        };
        let engine = engine()?;
        tick(&engine, table.call_timeout / TICKS)?;
        Ok(Self {
            engine,
            file,
            sum,
            memory_bytes_max: table.memory_bytes_max,
        })
    }

    /// Reads it, and holds it against the sum.
    pub(crate) fn read(&self) -> anyhow::Result<Verified> {
        let unreadable =
            |key: &str, file: &Path| format!("wasm_producer.{key}: {}", file.display());
        let bytes =
            read(&self.file, MODULE_BYTES_MAX).with_context(|| unreadable("module", &self.file))?;
        let declared = match &self.sum {
            Sum::Here(sum) => sum.clone(),
            Sum::File(file) => {
                let text =
                    read(file, SUM_BYTES_MAX).with_context(|| unreadable("sha256_file", file))?;
                let text = String::from_utf8_lossy(&text);
                sum_of(&text).with_context(|| {
                    let name = file.display();
                    format!("wasm_producer.sha256_file: {name} does not begin with 64 hexadecimal digits, as sha256sum writes them")
                })?
            }
        };
        let sha256 = hex(&Sha256::digest(&bytes));
        if sha256 != declared {
            bail!(
                "wasm_producer.module: {} has the SHA-256 {sha256}, and {declared} is declared: another module is not run",
                self.file.display()
            );
        }
        Ok(Verified { bytes, sha256 })
    }

    /// Compiles it, and looks whether it is a producer; some seconds of a processor.
    pub(crate) fn compile(&self, verified: &Verified) -> anyhow::Result<Module> {
        let Verified { bytes, sha256 } = verified;
        let compiled = wasmtime::Module::new(&self.engine, bytes).map_err(|error| {
            anyhow::anyhow!("wasm_producer.module: {}: {error:#}", self.file.display())
        })?;
        if let Some(import) = compiled.imports().next() {
            bail!(
                "wasm_producer.module: it imports {} of {}; a producer gets nothing but bytes and the time",
                import.name(),
                import.module()
            );
        }
        if let Some(name) = EXPORTS
            .iter()
            .find(|name| compiled.get_export(name).is_none())
        {
            bail!(
                "wasm_producer.module: it exports no {name}; it is none that scripts/wasm has built"
            );
        }
        let module = Module {
            compiled,
            sha256: sha256.clone(),
            memory_bytes_max: self.memory_bytes_max,
        };
        let version = Instance::of(&module)
            .and_then(|mut instance| instance.version())
            .map_err(|stopped| anyhow::anyhow!("wasm_producer.module: {stopped}"))?;
        if version != VERSION {
            bail!(
                "wasm_producer.module: it has version {version} of the interface, this process {VERSION}: build both from the same release"
            );
        }
        Ok(module)
    }

    /// Both.
    pub(crate) fn load(&self) -> anyhow::Result<Module> {
        self.compile(&self.read()?)
    }

    /// Hands on what the files become that were `loaded` at first, until the shutdown.
    pub(crate) async fn watch(
        self,
        mut loaded: Stamp,
        modules: mpsc::UnboundedSender<Arc<Module>>,
        shutdown: Shutdown,
    ) {
        let mut before = loaded.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.requested() => return,
            }
            let now = self.stamp();
            // Two files change one after the other, and a large one for a while.
            let is_at_rest = now == before;
            before = now.clone();
            if now == loaded || !is_at_rest {
                continue;
            }
            loaded = now;
            let loader = self.clone();
            match tokio::task::spawn_blocking(move || loader.load()).await {
                Ok(Ok(module)) => {
                    log_limiter::ended(REFUSED, "");
                    if modules.send(Arc::new(module)).is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    metric::module_refused();
                    log_limiter::repeated(REFUSED, "", &format!("{error:#}"));
                }
                Err(_) => return, // the runtime is ending
            }
        }
    }

    /// Of the files as they are.
    pub(crate) fn stamp(&self) -> Stamp {
        let of = |file: &Path| {
            let data = fs::metadata(file).ok()?;
            Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
        };
        let sum = match &self.sum {
            Sum::Here(_) => None,
            Sum::File(file) => of(file),
        };
        Stamp(vec![of(&self.file), sum])
    }
}

fn engine() -> anyhow::Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true).wasm_multi_memory(false);
    Engine::new(&config)
        .map_err(|error| anyhow::anyhow!("WebAssembly cannot be run here: {error:#}"))
}

/// Counts the epochs that a call may take, on a thread of its own: the module keeps the only other one.
fn tick(engine: &Engine, every: Duration) -> io::Result<()> {
    let engine = engine.weak();
    let count = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(every);
        }
    };
    let builder = std::thread::Builder::new().name("epochs".into());
    builder.spawn(count).map(|_| ())
}

/// A regular file: others may never end, or never begin.
fn read(file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    let read = fs::File::open(file)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    match read as u64 > bytes_max {
        true => Err(io::Error::other(format!(
            "it has more than {bytes_max} bytes"
        ))),
        false => Ok(bytes),
    }
}

/// The first 64 hexadecimal digits of what sha256sum writes.
fn sum_of(text: &str) -> Option<String> {
    let sum = text.split_whitespace().next()?.to_ascii_lowercase();
    let fits = sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then_some(sum)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
impl Module {
    /// Of the text format, without any check.
    pub(crate) fn of_text(text: &str, memory_bytes_max: usize, call_timeout: Duration) -> Self {
        let engine = engine().expect("there is a compiler");
        tick(&engine, call_timeout / TICKS).expect("there are threads");
        Self {
            compiled: wasmtime::Module::new(&engine, wat::parse_str(text).expect("it is a text"))
                .expect("it is a module"),
            sha256: String::new(),
            memory_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(folder: &Path, sum: Option<&str>) -> WasmProducer {
        let text = "[topics.t]\npartitions = 1\n[streams.s]\ntopic = \"t\"\naccess = \"open\"\n[[streams.s.routes]]\npath = \"/s\"\n";
        let config = aguacero::config::Config::parse(text, "test", []);
        let mut table = config.unwrap_or_else(|e| panic!("{e}")).wasm_producer;
        table.module = Some(folder.join("m.wasm"));
        table.sha256 = sum.map(str::to_owned);
        table
    }

    fn refused(table: &WasmProducer) -> String {
        let loaded = Loader::new(table).and_then(|loader| loader.load());
        loaded.err().map(|e| format!("{e:#}")).unwrap_or_default()
    }

    #[test]
    fn what_is_missing_is_told_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = table(folder.path(), None);
        table.module = None;
        let told = refused(&table);
        assert!(
            told.contains("wasm_producer.module: names no module"),
            "{told}"
        );
        assert!(
            told.contains("wasm_producer.sha256: says of no module"),
            "{told}"
        );
    }

    #[test]
    fn a_module_of_another_sum_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let module = wat::parse_str("(module)").unwrap();
        fs::write(folder.path().join("m.wasm"), &module).unwrap();
        let ours = hex(&Sha256::digest(&module));
        let told = refused(&table(folder.path(), Some(&"0".repeat(64))));
        assert!(
            told.contains(&ours) && told.contains("another module is not run"),
            "{told}"
        );
        // The right sum, in a file: only then is it looked at.
        let mut table = table(folder.path(), None);
        let file = folder.path().join("m.sha256");
        fs::write(&file, format!("{}  m.wasm\n", ours.to_uppercase())).unwrap();
        table.sha256_file = Some(file.clone());
        let told = refused(&table);
        assert!(told.contains("exports no version"), "{told}");
        fs::write(&file, "nothing").unwrap();
        assert!(refused(&table).contains("64 hexadecimal digits"));
    }

    #[test]
    fn a_module_gets_nothing_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#;
        let module = wat::parse_str(text).unwrap();
        fs::write(folder.path().join("m.wasm"), &module).unwrap();
        let told = refused(&table(folder.path(), Some(&hex(&Sha256::digest(&module)))));
        assert!(
            told.contains("imports fd_write of wasi_snapshot_preview1"),
            "{told}"
        );
    }
}
