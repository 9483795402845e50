//! The brokers, and what can be seen of them from outside: processor time, files, reads from the disk.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use benches::{cpu, produce};
use e2e::{Services, kafka::Kafka};
use rdkafka::ClientConfig;
use rustix::fs::{Advice, fadvise};
use serde_json::Value;

/// So much of what is produced may wait in librdkafka: what a gateway lets be on its way.
const QUEUE_KBYTES: &str = "65536";
/// The beginning of a batch in a segment, up to and with its number of records.
const BATCH_HEADER: usize = 61;
/// What the length of a batch does not count: its offset, and the length itself.
const BEFORE_LENGTH: u64 = 12;

/// The brokers that `scripts/services` has started for this study.
pub(crate) struct Brokers {
    /// For `bootstrap.servers`.
    pub(crate) addresses: String,
    kafka: Kafka,
    processes: Vec<Process>,
    topics: AtomicU32,
}

struct Process {
    pid: u32,
    port: u16,
    log: PathBuf,
    /// Java, and the option with its libraries.
    java: Vec<String>,
}

/// A topic that is deleted when it is let go of by [`Brokers::forget`].
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
}

/// What the segments of a topic hold, on all brokers.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
    pub(crate) records: u64,
}

impl Brokers {
    /// As the environment says.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let addresses = std::env::var("AGUACERO_KAFKA_BROKERS")
            .context("AGUACERO_KAFKA_BROKERS is not set: run `make kafka-study`")?;
        let services = Services::started()?;
        let services = services.as_object().context("no services")?;
        let brokers = services
            .iter()
            .filter(|(name, _)| name.starts_with("kafka"));
        let process = |service: &Value| {
            let argv: Vec<_> = service["argv"].as_array()?.iter().collect();
            let libraries = argv.iter().position(|argument| *argument == "-cp")?;
            let java = [
                argv.first()?,
                argv.get(libraries)?,
                argv.get(libraries + 1)?,
            ];
            let java = java.map(|argument| argument.as_str().map(str::to_owned));
            Some(Process {
                pid: service["pid"].as_u64()?.try_into().ok()?,
                port: service["port"].as_u64()?.try_into().ok()?,
                java: java.into_iter().collect::<Option<_>>()?,
                log: Path::new(service["data"].as_str()?).join("log"),
            })
        };
        let processes: Option<Vec<_>> = brokers.map(|(_, service)| process(service)).collect();
        Ok(Self {
            kafka: Kafka::new(&addresses),
            addresses,
            processes: processes
                .context("scripts/services tells of a broker without pid or data")?,
            topics: AtomicU32::new(0),
        })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.processes.len()
    }

    /// The settings of the kafka-producer, and then those that are varied.
    pub(crate) fn settings(&self, varied: &[(&str, &str)]) -> ClientConfig {
        let mut settings = produce::settings(&self.addresses);
        settings.set("queue.buffering.max.kbytes", QUEUE_KBYTES);
        for (key, value) in varied {
            settings.set(*key, *value);
        }
        settings
    }

    /// A new topic, when all of its partitions have their leaders.
    pub(crate) async fn topic(&self, partitions: u64, replicas: i32) -> Topic {
        let number = self.topics.fetch_add(1, Ordering::Relaxed);
        let (name, partitions) = (
            format!("study-{}-{number}", std::process::id()),
            partitions as i32,
        );
        self.kafka.create_on(&name, partitions, replicas).await;
        self.kafka.in_sync().await;
        Topic { name, partitions }
    }

    /// Deletes it.
    pub(crate) async fn forget(&self, topic: Topic) {
        self.kafka.forget(&[topic.name]).await;
    }

    /// Processor time of all brokers so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let each = self.processes.iter();
        each.map(|process| Ok(cpu::of(process.pid)?.all())).sum()
    }

    /// How many connections librdkafka's clients have to them. (Those among the brokers are in another table, that of IPv6.)
    pub(crate) fn connections(&self) -> anyhow::Result<usize> {
        const ESTABLISHED: &str = "01";
        let table = fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
        let ports: Vec<_> = self.processes.iter().map(|p| p.port).collect();
        // Number, own address, the other's, state (proc_net_tcp.rst): 0100007F:5208
        let is_ours = |line: &&str| {
            let mut fields = line.split_ascii_whitespace().skip(2);
            let port = fields.next().and_then(|address| address.split_once(':'));
            let port = port.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            fields.next() == Some(ESTABLISHED) && port.is_some_and(|port| ports.contains(&port))
        };
        Ok(table.lines().filter(is_ours).count())
    }

    /// Of each broker a Java with its libraries, and where its JVM tells its figures.
    pub(crate) fn management(&self) -> anyhow::Result<Vec<(&[String], String)>> {
        const HINT: &str = "the broker's JVM has no address for its figures: run this by `make fan-in` or \
                            `make kafka-study`, which start it with -Dcom.sun.management.jmxremote";
        let of = |process: &'_ Process| {
            let folders = fs::read_dir("/tmp").context("/tmp")?.flatten();
            let mut files = folders
                .filter(|folder| folder.file_name().as_bytes().starts_with(b"hsperfdata_"))
                .map(|folder| folder.path().join(process.pid.to_string()));
            let file = files.find(|file| file.exists()).context(HINT)?;
            let figures = fs::read(&file).with_context(|| file.display().to_string())?;
            let start = memchr::memmem::find(&figures, b"service:jmx:").context(HINT)?;
            let url = figures[start..].split(|byte| *byte == 0).next();
            String::from_utf8(url.unwrap_or_default().to_vec()).context("an address of JMX")
        };
        let each = self.processes.iter();
        each.map(|process| Ok((&*process.java, of(process)?)))
            .collect()
    }

    /// Bytes that the brokers had to read from the disk so far, because the page cache had not got them.
    pub(crate) fn read_from_disk(&self) -> anyhow::Result<u64> {
        let of = |process: &Process| {
            let file = format!("/proc/{}/io", process.pid);
            let io = fs::read_to_string(&file).with_context(|| file.clone())?;
            let bytes = io
                .lines()
                .find_map(|line| line.strip_prefix("read_bytes: "));
            bytes
                .and_then(|b| b.parse::<u64>().ok())
                .with_context(|| format!("{file}: {io}"))
        };
        self.processes.iter().map(of).sum()
    }

    /// What is in the files of `topic`.
    pub(crate) fn log(&self, topic: &Topic) -> anyhow::Result<Log> {
        let mut log = Log::default();
        for segment in self.segments(topic)? {
            log.add(&segment)
                .with_context(|| segment.display().to_string())?;
        }
        Ok(log)
    }

    /// Has the files of `topic` written to the disk, and the page cache let go of them.
    pub(crate) fn drop_pages(&self, topic: &Topic) -> anyhow::Result<()> {
        for segment in self.segments(topic)? {
            let dropped = File::open(&segment).and_then(|file| {
                file.sync_all()?;
                Ok(fadvise(file, 0, None, Advice::DontNeed)?)
            });
            dropped.with_context(|| segment.display().to_string())?;
        }
        Ok(())
    }

    fn segments(&self, topic: &Topic) -> anyhow::Result<Vec<PathBuf>> {
        let mut segments = Vec::new();
        for process in &self.processes {
            for partition in 0..topic.partitions {
                let folder = process.log.join(format!("{}-{partition}", topic.name));
                // With fewer replicas than brokers, not each of them has it.
                let Ok(entries) = fs::read_dir(folder) else {
                    continue;
                };
                for entry in entries {
                    segments.push(entry?.path());
                }
            }
        }
        segments.retain(|path| path.extension().is_some_and(|e| e == "log"));
        Ok(segments)
    }
}

impl Log {
    /// A segment is batch after batch as the producer sent them, each with its length and its number of records.
    fn add(&mut self, segment: &Path) -> std::io::Result<()> {
        let file = File::open(segment)?;
        let bytes = file.metadata()?.len();
        let (mut file, mut at) = (BufReader::new(file), 0);
        while at + (BATCH_HEADER as u64) <= bytes {
            let mut header = [0; BATCH_HEADER];
            file.read_exact(&mut header)?;
            let [.., a, b, c, d] = header;
            self.records += u64::from(u32::from_be_bytes([a, b, c, d]));
            self.batches += 1;
            let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
            let next = at + BEFORE_LENGTH + u64::from(length);
            file.seek_relative((next - at) as i64 - BATCH_HEADER as i64)?;
            at = next;
        }
        self.bytes += bytes;
        Ok(())
    }
}
