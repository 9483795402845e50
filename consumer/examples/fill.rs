//! Puts events straight into the first stream's topic, so that a consumer can be measured by itself:
//! `fill CONFIG EVENTS [REPEATED IN 100]`.

use aguacero::{
    config::Config,
    id::EventId,
    kafka::{Topics, client_config},
    record::{HEADER, Header},
};
use rdkafka::{
    message::{Header as KafkaHeader, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let config =
        Config::load(std::path::Path::new(&arguments[1])).map_err(|e| anyhow::anyhow!("{e}"))?;
    let n: u64 = arguments[2].parse()?;
    let repeated: u64 = arguments.get(3).map_or(Ok(0), |n| n.parse())?;
    let stream = &config.streams[0];
    let topic = config.topic_of(stream);
    Topics::new(&config.kafka, "fill")?
        .ensure(&config.topics)
        .await?;
    let mut client = client_config(&config.kafka, "fill");
    client
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "2000000");
    let producer: BaseProducer = client.create()?;
    let base = EventId::new_base();
    let mut header = Vec::new();
    for i in 0..n {
        let id = base.plus(if i % 100 < repeated { i / 2 } else { i });
        let json = format!(
            r#"{{"texto":"Su lluvia cae otra vez sobre la ciudad, y nadie lleva paraguas ☔ {}","país":"{}"}}"#,
            id,
            ["Perú", "Chile", "España", "Corea del Sur"][(id.0[15] % 4) as usize]
        );
        Header {
            id,
            stream: &stream.name,
            client_key: b"",
        }
        .write(&mut header);
        let headers = OwnedHeaders::new().insert(KafkaHeader {
            key: HEADER,
            value: Some(&header[..]),
        });
        let mut record = BaseRecord::<(), str>::to(&topic.name)
            .partition(((i / 50) % topic.partitions as u64) as i32)
            .payload(&json)
            .headers(headers);
        while let Err((_, again)) = producer.send(record) {
            producer.poll(std::time::Duration::from_millis(10));
            record = again;
        }
        if i % 1000 == 0 {
            producer.poll(std::time::Duration::ZERO);
        }
    }
    producer.flush(std::time::Duration::from_secs(60))?;
    println!("{n} records");
    Ok(())
}
