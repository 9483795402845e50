//! The sales: records as a gateway writes them.

use std::time::Duration;

use aguacero::{
    id::EventId,
    record::{HEADER, Header},
};
use anyhow::ensure;
use benches::produce;
use e2e::Pipeline;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header as KafkaHeader, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::STREAM;

/// Events of one request, whose ids follow each other.
const REQUEST: u64 = 10;
const FLUSH: Duration = Duration::from_secs(60);
/// How long a full queue is waited for before it is tried again.
const FULL: Duration = Duration::from_millis(20);

/// A sale as a cart sends it, always the same.
fn sale(n: u64) -> String {
    let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |sides: u64| {
        // xorshift64 (Marsaglia 2003)
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let (client, amount, stock, cart) = (below(5000), 1 + below(10), below(500), below(200));
    let (hour, minute) = (8 + below(14), below(60));
    let (south, west) = (below(100_000), below(100_000));
    format!(
        r#"{{"Cliente":"Cliente número {client}","Cantidad de Sopaipillas":{amount},"Hora":"{hour:02}:{minute:02}","Stock restante":{stock},"Ubicación del carrito":"-33.{south:05},-70.{west:05}","Patente carrito":"CR-{cart:04}"}}"#
    )
}

/// So many sales into all partitions, as a gateway writes them.
pub(crate) fn fill(pipeline: &Pipeline, rows: u64) -> anyhow::Result<()> {
    let topic = pipeline.config.topic_of(pipeline.stream(STREAM));
    let settings = produce::settings(&pipeline.config.kafka.brokers);
    let producer: BaseProducer = settings.create()?;
    let (mut base, mut header) = (EventId::new_base(), Vec::new());
    for n in 0..rows {
        if n % REQUEST == 0 {
            base = EventId::new_base();
        }
        header.clear();
        Header {
            id: base.plus(n % REQUEST),
            stream: STREAM,
            client_key: b"",
        }
        .write(&mut header);
        let headers = OwnedHeaders::new_with_capacity(1).insert(KafkaHeader {
            key: HEADER,
            value: Some(&header),
        });
        let sale = sale(n);
        let mut record = BaseRecord::<(), _>::to(&topic.name)
            .partition((n / REQUEST) as i32 % topic.partitions)
            .payload(&sale)
            .headers(headers);
        while let Err((error, again)) = producer.send(record) {
            let is_full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(is_full, "{error}");
            producer.poll(FULL);
            record = again;
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(producer.flush(FLUSH)?)
}
