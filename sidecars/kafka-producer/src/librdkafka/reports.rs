//! Delivery reports out of librdkafka, drained in bulk by the thread that serves the streams.
//!
//! librdkafka writes a byte to a socket when its queue of reports is no longer empty, and the runtime
//! wakes as it does for any socket. A polling thread of its own would cost each receipt one more
//! change of threads, which a lone client waits for.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixStream as Announce},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    bindings as sys,
    producer::{BaseProducer, Producer as _, ProducerContext},
};
use tokio::{io::AsyncReadExt as _, net::UnixStream};

use super::Context;

/// How often a producer that is to end is asked whether it has.
const END_EVERY: Duration = Duration::from_millis(20);

/// A producer's queue of reports, and the socket that announces them.
pub(crate) struct Reports {
    queue: Queue,
    announced: UnixStream,
    /// librdkafka's end, closed after the queue has forgotten it. The runtime does not know it: it would
    /// be woken each time the other end is read.
    _announce: Announce,
}

/// A reference to librdkafka's queue.
struct Queue(*mut sys::rd_kafka_queue_t);

// SAFETY: librdkafka's queues are locked inside and may be used from any thread.
#[allow(unsafe_code)]
unsafe impl Send for Queue {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Queue {}

#[allow(unsafe_code)]
impl Queue {
    /// The main queue of `producer`, announced by a byte to `socket` whenever it was empty and is not.
    fn announced_by<C: ProducerContext>(producer: &BaseProducer<C>, socket: &Announce) -> Self {
        static BYTE: u8 = 1;
        // SAFETY: the client is alive; the reference to its queue is given back in `drop`, before
        // which the socket is not closed. The payload is copied.
        unsafe {
            let queue = sys::rd_kafka_queue_get_main(producer.client().native_ptr());
            sys::rd_kafka_queue_io_event_enable(
                queue,
                socket.as_raw_fd(),
                (&raw const BYTE).cast(),
                1,
            );
            Self(queue)
        }
    }

    fn is_empty(&self) -> bool {
        // SAFETY: the reference is alive, and the call only reads.
        unsafe { sys::rd_kafka_queue_length(self.0) == 0 }
    }
}

#[allow(unsafe_code)]
impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is alive and given back once; with -1 librdkafka forgets the socket.
        unsafe {
            sys::rd_kafka_queue_io_event_enable(self.0, -1, std::ptr::null(), 0);
            sys::rd_kafka_queue_destroy(self.0);
        }
    }
}

impl Reports {
    /// Has the reports of `producer` announced.
    pub(crate) fn of<C: ProducerContext>(producer: &BaseProducer<C>) -> io::Result<Self> {
        let (announced, announce) = Announce::pair()?;
        announced.set_nonblocking(true)?;
        announce.set_nonblocking(true)?;
        let announced = UnixStream::from_std(announced)?;
        let queue = Queue::announced_by(producer, &announce);
        Ok(Self {
            queue,
            announced,
            _announce: announce,
        })
    }

    /// Serves the reports of `producer` until nobody else holds it and the last one has come.
    pub(crate) async fn serve(mut self, producer: Arc<BaseProducer<Context>>) {
        let mut bytes = [0; 64];
        loop {
            while !self.queue.is_empty() {
                producer.poll(Duration::ZERO);
            }
            producer.context().mend(&producer);
            let retired = Arc::strong_count(&producer) == 1;
            if retired && producer.in_flight_count() == 0 && self.queue.is_empty() {
                return;
            }
            // The pause only matters to a retired producer and to errors that nothing announces.
            _ = tokio::time::timeout(
                if retired {
                    END_EVERY
                } else {
                    Duration::from_secs(1)
                },
                self.announced.read(&mut bytes),
            )
            .await;
        }
    }
}
