//! The good client: one event after another over a connection that is kept, on a thread of its own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use e2e::{Client, Request};
use hdrhistogram::Histogram;

/// Requests of a connection; the next one shows whether new clients get in.
const OF_A_CONNECTION: u64 = 100;
/// Not the address of those who besiege, which may have used up what one address may have.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// After a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// A good client that goes on until it is told to stop.
pub(crate) struct Good {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Felt>>,
}

/// What it felt.
pub(crate) struct Felt {
    /// From connecting or sending to the whole answer; µs, of those answered 200.
    pub(crate) times: Histogram<u64>,
    /// Requests answered otherwise, or not at all.
    pub(crate) failed: u64,
}

impl Good {
    pub(crate) fn start(address: SocketAddr, path: &str, event: &str) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let request = Request::json(path, event.to_owned());
        let is_over = Arc::clone(&stops);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(send(address, &request, &is_over))
        });
        Self { stops, thread }
    }

    pub(crate) fn stop(self) -> anyhow::Result<Felt> {
        self.stops.store(true, Relaxed);
        let felt = self.thread.join();
        felt.map_err(|_| anyhow!("the good client panicked"))?
    }
}

async fn send(address: SocketAddr, request: &Request, stops: &AtomicBool) -> anyhow::Result<Felt> {
    let mut felt = Felt {
        times: Histogram::new(3)?,
        failed: 0,
    };
    let mut client = Client::new(address).from(SOURCE);
    let mut requests = 0;
    while !stops.load(Relaxed) {
        if requests % OF_A_CONNECTION == 0 {
            client = Client::new(address).from(SOURCE);
        }
        requests += 1;
        let sent = Instant::now();
        match client.send(request).await {
            Ok(answer) if answer.status == 200 => {
                felt.times.record(sent.elapsed().as_micros() as u64)?;
            }
            _ => {
                felt.failed += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(felt)
}
