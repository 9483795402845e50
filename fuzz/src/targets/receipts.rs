//! Messages of a kafka-producer's, as a gateway reads them that has sent it slabs.

use gateway::stages::Stages;

use super::CONFIG;

/// Between two messages.
const NEXT: u8 = 0xff;

pub(super) fn run(input: &[u8]) {
    let mut gateway = Stages::new(CONFIG.clone());
    for (n, message) in input.split(|b| *b == NEXT).take(4).enumerate() {
        let body =
            format!("[{{\"texto\":\"llueve\",\"id\":{n}}},{{\"texto\":\"x\",\"país\":{n}}}]");
        gateway.take(body.as_bytes());
        gateway.told(message);
        _ = gateway.deltas();
    }
}
