//! One connection: the hello, then frames in and acknowledgements out, side by side.

use std::{sync::Arc, time::Duration};

use aguacero::{
    config::Config,
    ledger::END,
    log_limiter,
    shutdown::{Shutdown, Trigger},
};
use aguacero_proto::deltas::{DeltaAck, DeltaFrame, from_redis_writer, to_redis_writer};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    apply::Work,
    frame::Frame,
    handshake::handshake,
    metric,
    wire::{End, Socket, close, decode, message},
};

/// Bytes of frames, over all sessions, that were read and are not in Redis yet. Beyond it the
/// sessions wait, and stop reading.
const BYTES_WAITING_MAX: usize = 64 << 20;

/// Frames of one session whose acknowledgement it has not taken yet; beyond it, it is not read.
const FRAMES_OPEN_MAX: usize = 1024;

/// From the connection to the hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gateway may take no acknowledgement.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where acknowledgements go, each with the slot that it frees. Bounded by the slots.
pub(crate) type Acks = mpsc::UnboundedSender<(DeltaAck, OwnedSemaphorePermit)>;

/// What all sessions share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) config: Arc<Config>,
    pub(crate) shutdown: Shutdown,
    queue: mpsc::Sender<Work>,
    bytes: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn new(config: Arc<Config>, queue: mpsc::Sender<Work>, shutdown: Shutdown) -> Self {
        let bytes = Arc::new(Semaphore::new(BYTES_WAITING_MAX));
        Self {
            config,
            shutdown,
            queue,
            bytes,
        }
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: UnixStream, context: Context) {
    let hello = tokio::select! {
        hello = timeout(HELLO_TIMEOUT, handshake(stream, &context.config)) => hello,
        () = context.shutdown.requested() => return,
    };
    let end = match hello {
        Ok(Ok((socket, run))) => {
            let _open = metric::Session::open();
            converse(socket, run, context).await
        }
        Ok(Err(end)) => end,
        Err(_) => End::protocol("no hello came in time"),
    };
    match end {
        End::Refused(_, reason) => {
            metric::session_refused();
            log_limiter::repeated("a connection broke the protocol", "", &reason);
        }
        end => tracing::debug!(?end, "a session ended"),
    }
}

/// Reads and acknowledges until either direction ends, then waits for what is on its way to Redis.
async fn converse(socket: Socket, run: [u8; 16], context: Context) -> End {
    let (mut sink, mut source) = socket.split();
    let (acks, acknowledged) = mpsc::unbounded_channel();
    let (trigger, cut) = Shutdown::new();
    let reader = Reader {
        run,
        context,
        acks,
        slots: Arc::new(Semaphore::new(FRAMES_OPEN_MAX)),
        cut,
    };
    let (end, written) = tokio::join!(
        reader.run(&mut source),
        write(&mut sink, acknowledged, trigger)
    );
    let end = written.err().unwrap_or(end);
    if let Ok(mut socket) = sink.reunite(source) {
        close(&mut socket, &end).await;
    }
    end
}

struct Reader {
    run: [u8; 16],
    context: Context,
    /// Dropped with the reader: when the last frame on its way is acknowledged, the writer ends.
    acks: Acks,
    slots: Arc<Semaphore>,
    /// Requested when acknowledgements cannot be written any more.
    cut: Shutdown,
}

impl Reader {
    async fn run(self, source: &mut stream::SplitStream<Socket>) -> End {
        loop {
            let received = tokio::select! {
                biased;
                () = self.context.shutdown.requested() => return End::Draining,
                () = self.cut.requested() => return End::Stuck,
                received = source.next() => received,
            };
            let len = received
                .as_ref()
                .map_or(0, |m| m.as_ref().map_or(0, Message::len));
            let frame = match decode(received) {
                Ok(None) => continue,
                Ok(Some(to_redis_writer::Kind::Frame(frame))) => frame,
                Ok(Some(to_redis_writer::Kind::Hello(_))) => {
                    return End::protocol("a second hello");
                }
                Err(end) => return end,
            };
            if !(1..=END.unsigned_abs()).contains(&frame.sequence) {
                return End::protocol("frames are numbered from 1");
            }
            if let Err(end) = self.hand_over(frame, len).await {
                return end;
            }
        }
    }

    /// Waits until there is room. What was read is applied even if a shutdown comes in between.
    async fn hand_over(&self, frame: DeltaFrame, len: usize) -> Result<(), End> {
        let frame = Frame::check(&self.context.config, frame);
        let waiting = metric::Waiting::begin();
        let slots = Arc::clone(&self.slots);
        let slot = tokio::select! {
            () = self.cut.requested() => return Err(End::Stuck),
            slot = slots.acquire_owned() => slot,
        };
        // A message is smaller than all of the permits.
        let bytes = Arc::clone(&self.context.bytes);
        let bytes = bytes
            .acquire_many_owned(u32::try_from(len).unwrap_or(u32::MAX))
            .await;
        let (Ok(slot), Ok(bytes)) = (slot, bytes) else {
            return Err(End::Draining);
        };
        let work = Work {
            run: self.run,
            sequence: frame.sequence,
            parts: frame.parts,
            problems: frame.problems,
            acks: self.acks.clone(),
            bytes,
            slot,
            waiting,
        };
        let sent = self.context.queue.send(work).await;
        sent.map_err(|_| End::Draining)
    }
}

/// Sends acknowledgements, all that are ready by one flush, until the reader and all frames on their
/// way are done. Ending, for whatever reason, it cuts the reader off.
async fn write(
    sink: &mut stream::SplitSink<Socket, Message>,
    mut acknowledged: mpsc::UnboundedReceiver<(DeltaAck, OwnedSemaphorePermit)>,
    _cut: Trigger,
) -> Result<(), End> {
    let mut ready = Vec::new();
    loop {
        if acknowledged.recv_many(&mut ready, FRAMES_OPEN_MAX).await == 0 {
            return Ok(());
        }
        let flush = async {
            for (ack, _slot) in ready.drain(..) {
                sink.feed(message(from_redis_writer::Kind::Ack(ack)))
                    .await?;
            }
            sink.flush().await
        };
        match timeout(WRITE_TIMEOUT, flush).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Left),
            Err(_) => return Err(End::Stuck),
        }
    }
}
