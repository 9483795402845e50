//! Records as somebody else would write them.

use std::ffi::{CString, c_void};

use aguacero::record::HEADER;
use rdkafka::{
    message::OwnedHeaders,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tokio::task::spawn_blocking;

use super::{CALL_TIMEOUT, Kafka};

impl Kafka {
    /// Writes a record as somebody else would.
    pub async fn write(&self, topic: &str, partition: i32, value: &[u8], header: Option<&[u8]>) {
        let mut client = self.client();
        client.set("acks", "all");
        let (topic, value, header) = (topic.to_owned(), value.to_vec(), header.map(<[u8]>::to_vec));
        spawn_blocking(move || {
            let producer: BaseProducer = client.create().expect("a producer");
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic)
                .partition(partition)
                .payload(&value);
            if let Some(header) = &header {
                let header = rdkafka::message::Header {
                    key: HEADER,
                    value: Some(header.as_slice()),
                };
                record = record.headers(OwnedHeaders::new().insert(header));
            }
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("room for a record");
            producer.flush(CALL_TIMEOUT).expect("Kafka takes a record");
        })
        .await
        .expect("writing a record");
    }

    /// Writes a record whose headers are called anything, compressed: what the broker takes for small
    /// may be large for whoever reads it.
    pub async fn write_headers(
        &self,
        topic: &str,
        partition: i32,
        value: &[u8],
        headers: &[(&[u8], &[u8])],
    ) {
        self.write_batch(topic, partition, &[value], headers).await;
    }

    /// The same with several records in one batch.
    pub async fn write_batch(
        &self,
        topic: &str,
        partition: i32,
        values: &[&[u8]],
        headers: &[(&[u8], &[u8])],
    ) {
        let mut client = self.client();
        client
            .set("acks", "all")
            .set("linger.ms", "10000")
            .set("batch.size", "200000000")
            .set("compression.type", "zstd")
            .set("message.max.bytes", "200000000");
        let topic = topic.to_owned();
        let values: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        spawn_blocking(move || {
            let producer: BaseProducer = client.create().expect("a producer");
            let before = ends_of(&producer, &topic, partition);
            for value in &values {
                produce(&producer, &topic, partition, value, &headers);
            }
            producer.flush(CALL_TIMEOUT).expect("Kafka answers");
            // A record that the broker refuses is as flushed as one that it has.
            let written = ends_of(&producer, &topic, partition) - before;
            assert_eq!(written, values.len() as i64, "refused");
        })
        .await
        .expect("writing a record");
    }
}

fn ends_of(producer: &BaseProducer, topic: &str, partition: i32) -> i64 {
    let ends = producer
        .client()
        .fetch_watermarks(topic, partition, CALL_TIMEOUT);
    ends.expect("Kafka answers").1
}

/// Sends a record with headers of any names. rdkafka's safe API takes a name for UTF-8.
#[allow(unsafe_code)]
fn produce(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    value: &[u8],
    headers: &[(Vec<u8>, Vec<u8>)],
) {
    use rdkafka::{bindings as sys, types::RDKafkaRespErr};

    let topic = CString::new(topic).expect("a topic's name");
    // SAFETY: the producer is alive for the duration of the call. Names and values of the headers, and
    // the value (by F_COPY), are copied with the sizes that they have; the list of headers is the
    // client's once the record is, which without an error it is.
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            let added = sys::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value.as_ptr().cast(),
                value.len().cast_signed(),
            );
            assert_eq!(added, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
        }
        let sent = sys::rd_kafka_producev(
            producer.client().native_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            partition,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            value.as_ptr().cast::<c_void>(),
            value.len(),
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            list,
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        );
        assert_eq!(sent, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
    }
}
