//! What the project's own producer writes is what Kafka's own tools read.

use std::process::Stdio;

use e2e::{Pipeline, Request, Services, load::tweet};
use tokio::process::Command;

/// How many events of each codec.
const EVENTS: usize = 200;

/// One of Kafka's own programs, in the Java that runs the broker.
async fn tool(class: &str, arguments: &[&str]) -> String {
    let kafka = Services::started().expect("services")["kafka"].take();
    let argv = kafka["argv"].as_array().expect("how the broker runs");
    let argv: Vec<_> = argv.iter().filter_map(|word| word.as_str()).collect();
    let libraries = argv.iter().position(|word| *word == "-cp");
    let libraries = argv[libraries.expect("a class path") + 1];
    let ran = Command::new(argv[0])
        .args(["-Xmx256m", "-cp", libraries, class])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = ran.await.expect("Java runs");
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{class}: {told}\n{error}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_each_codec_are_read_by_librdkafka_and_by_kafkas_own_tools() {
    for codec in ["none", "lz4", "zstd", "snappy", "gzip"] {
        let pipeline = Pipeline::weather()
            .as_declared() // only the kafka-producer packs batches
            .with("kafka_producer.client", "engine")
            .with("kafka_producer.compression", codec)
            .start()
            .await;
        let mut client = pipeline.client();
        let bodies: Vec<_> = (0..EVENTS).map(tweet).collect();
        let request = Request::ndjson("/input", bodies.join("\n"));
        client.answer(&request).await.accepted(EVENTS);
        pipeline.exact("weather", EVENTS).await; // read by librdkafka

        let topic = pipeline.topic("weather");
        let brokers = pipeline.gateway.setting("kafka.brokers");
        let count = EVENTS.to_string();
        let read = tool(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            &[
                "--bootstrap-server",
                brokers,
                "--topic",
                topic,
                "--from-beginning",
                "--max-messages",
                &count,
                "--timeout-ms",
                "30000",
            ],
        )
        .await;
        let mut read: Vec<_> = read.lines().collect();
        let mut sent: Vec<_> = bodies.iter().map(String::as_str).collect();
        read.sort_unstable();
        sent.sort_unstable();
        assert_eq!(read, sent, "{codec}");

        let data = Services::started().expect("services")["kafka"]["data"].take();
        let folder = data.as_str().expect("where the broker's logs are");
        let topic_of = pipeline.config.topic_of(pipeline.stream("weather"));
        let log = |n| format!("{folder}/log/{topic}-{n}/00000000000000000000.log");
        let logs: Vec<_> = (0..topic_of.partitions).map(log).collect();
        let logs = logs.join(",");
        let told = tool(
            "org.apache.kafka.tools.DumpLogSegments",
            &["--files", &logs],
        )
        .await;
        let mut records = 0;
        for batch in told.lines().filter(|line| line.starts_with("baseOffset:")) {
            let has = |what: &str| batch.contains(what);
            let count = batch.split_once("count: ").expect("a count").1;
            let count = count.split(' ').next().expect("it");
            records += count.parse::<usize>().expect("a number");
            assert!(has(&format!("compresscodec: {codec} ")), "{batch}");
            assert!(has("magic: 2 ") && has("isvalid: true"), "{batch}");
            assert!(
                has("producerEpoch: 0 ") && !has("producerId: -1 "),
                "{batch}"
            );
        }
        assert_eq!(records, EVENTS, "{codec}");
    }
}
