//! How long until normal service: an event that is sent now is answered, archived and shown.

use std::time::{Duration, Instant};

use crate::{Client, Pipeline, Request};

/// Events for each gateway: enough to meet every partition, and so every consumer.
const EACH: usize = 6;
/// How long one answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A stream that only the probe writes to, so that what is archived and shown of it is the probe's.
pub(super) const DECLARATION: &str = r#"
[topics.probe]
partitions  = 4
replication = 1
min_insync  = 1

[streams.probe]
topic  = "probe"
key    = "n"
fields = [{ name = "n", type = "integer", required = true }]

[[streams.probe.routes]]
path = "/probe"
"#;

/// Times from the end of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// Until every gateway answered 200.
    pub answered: Duration,
    /// Until what they stored was archived.
    pub archived: Duration,
    /// Until it was shown.
    pub shown: Duration,
}

/// Sends events of its own.
#[derive(Default)]
pub(super) struct Probe {
    stored: usize,
}

impl Probe {
    /// Sends events through every gateway, and follows them.
    /// An error says what did not come to pass within [`crate::DEADLINE`].
    pub(super) async fn measure(
        &mut self,
        pipeline: &Pipeline,
        since: Instant,
    ) -> Result<Recovery, String> {
        let addresses = pipeline.addresses();
        for address in addresses.into_iter().flat_map(|a| [a; EACH]) {
            let n = self.stored;
            let request = Request::json("/probe", format!(r#"{{"n": {n}}}"#));
            let request = request.key(&format!("probe-{n}"));
            let mut client = Client::new(address);
            let until = Instant::now() + crate::DEADLINE;
            loop {
                let answer = tokio::time::timeout(ANSWER_MAX, client.send(&request)).await;
                if matches!(&answer, Ok(Ok(answer)) if answer.status == 200) {
                    break;
                }
                if Instant::now() > until {
                    return Err(format!(
                        "a probe through {address} is not stored: {answer:?}"
                    ));
                }
                tokio::time::sleep(PAUSE).await;
            }
            self.stored += 1;
        }
        let answered = since.elapsed();
        let until = Instant::now() + crate::DEADLINE;
        while pipeline.archive.count("probe").await < self.stored as u64 {
            if Instant::now() > until {
                return Err(format!("{} probes are not all archived", self.stored));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let archived = since.elapsed();
        let stream = pipeline.stream("probe");
        loop {
            let shown = pipeline.redis.shown(stream).await.total;
            if shown == self.stored as i64 {
                break;
            }
            if Instant::now() > until {
                return Err(format!("of {} probes {shown} are shown", self.stored));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Recovery {
            answered,
            archived,
            shown: since.elapsed(),
        })
    }
}
