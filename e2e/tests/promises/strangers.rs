//! Records in our topics that somebody else wrote, or that a later release did.

use std::time::{Duration, Instant};

use aguacero::{id::EventId, record::HEADER};
use bson::{Document, doc};
use e2e::{Pipeline, Request, eventually, load::tweet, once};

fn header(stream: &str, n: u8) -> Vec<u8> {
    e2e::kafka::header(stream, EventId([n; 16]))
}

/// Name and value.
type RawHeader<'a> = (&'a [u8], &'a [u8]);

/// The reason that is to be found, the value, and the header.
type Stranger<'a> = (&'a str, &'a [u8], Option<Vec<u8>>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_archived_is_kept_with_the_reason_and_not_counted() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let large = format!(r#"{{"x": "{}"}}"#, "x".repeat(922_000));
    let strangers: [Stranger; 5] = [
        ("no-header", b"hello", None),
        ("damaged-header", b"{}", Some(vec![1, 2, 3])),
        ("malformed", b"{\"texto\": ", Some(header("weather", 1))),
        ("unfit", b"{\"_id\": 1}", Some(header("weather", 2))),
        ("too-large", large.as_bytes(), Some(header("weather", 3))),
    ];
    for (partition, (_, value, header)) in (0..).zip(&strangers) {
        pipeline
            .kafka
            .write(topic, partition, value, header.as_deref())
            .await;
    }
    let mut client = pipeline.client();
    for n in 0..12 {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
    for (partition, (reason, value, _)) in (0..).zip(&strangers) {
        let letter = eventually(&format!("a letter of {reason}"), async || {
            let letters = pipeline
                .archive
                .find("dead_letters", doc! { "reason": *reason })
                .await;
            letters.into_iter().next().ok_or("none yet".into())
        })
        .await;
        assert_eq!(
            letter.get_binary_generic("value").ok().map(Vec::as_slice),
            Some(*value),
            "the raw bytes"
        );
        assert_eq!(letter.get_i32("partition").ok(), Some(partition));
        assert!(
            letter.get_str("detail").is_ok_and(|d| !d.is_empty()),
            "{letter}"
        );
    }
    let stream = pipeline.stream("weather");
    once("twelve archived", async || {
        pipeline.archive.of_stream(stream).await.len() == 12
    })
    .await;
    once("twelve shown", async || {
        pipeline.redis.shown(stream).await.total == 12
    })
    .await;
}

/// The safe API of rdkafka panics at such a name, and with it the thread that polls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_whose_name_is_not_text_does_no_harm() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let foreign: (&[u8], &[u8]) = (b"tr\xffce\xfe", b"\x00\x01");
    let (ours, event) = (header("weather", 7), tweet(7));
    pipeline
        .kafka
        .write_headers(topic, 0, b"hello", &[foreign])
        .await;
    let headers = [foreign, (HEADER.as_bytes(), ours.as_slice())];
    pipeline
        .kafka
        .write_headers(topic, 0, event.as_bytes(), &headers)
        .await;
    let kept = letter(&pipeline, "no-header").await;
    let headers = kept.get_array("headers").expect("its headers");
    let first = headers[0].as_document().expect("a header");
    assert_eq!(
        first.get_str("name").ok(),
        Some("tr\u{fffd}ce\u{fffd}"),
        "{kept}"
    );
    let value = first.get_binary_generic("value").ok();
    assert_eq!(value.map(Vec::as_slice), Some(foreign.1));
    let stream = pipeline.stream("weather");
    once("what is ours archived", async || {
        let archived = pipeline.archive.of_stream(stream).await;
        archived.len() == 1 && e2e::archive::id_of(&archived[0]) == EventId([7; 16])
    })
    .await;
}

/// The broker bounds what a record has compressed; MongoDB what a document has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_expands_beyond_a_document_is_kept_in_parts_and_blocks_nothing() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let large = vec![b'x'; 17_000_000];
    let keyed = [header("weather", 8).as_slice(), &large].concat();
    let (ours, event) = (header("weather", 9), tweet(9));
    let many = vec![(&b"n"[..], &b""[..]); 50_000];
    let name = HEADER.as_bytes();
    let records: [(&[u8], &[RawHeader]); 5] = [
        (b"hello", &[(&large, b"")]),
        (event.as_bytes(), &[(name, &keyed)]),
        (b"hello", &many),
        (&large, &[(b"a", b"b"), (name, &ours)]),
        (event.as_bytes(), &[(b"a", b"b"), (name, &ours)]),
    ];
    for (value, headers) in records {
        pipeline.kafka.write_headers(topic, 0, value, headers).await;
    }
    let stream = pipeline.stream("weather");
    once("what can be archived is", async || {
        pipeline.archive.of_stream(stream).await.len() == 1
    })
    .await;
    let mut letters = pipeline.archive.dead_letters().await;
    letters.sort_by_key(|letter| letter.get_i64("offset").ok());
    let told: Vec<_> = letters
        .iter()
        .map(|l| {
            (
                l.get_str("reason").unwrap_or_default(),
                l.contains_key("cut"),
            )
        })
        .collect();
    let expected = [
        ("no-header", true),
        ("too-large", true),
        ("no-header", true),
        ("too-large", false),
    ];
    assert_eq!(told, expected);
    once("and shown", async || {
        pipeline.redis.shown(stream).await.total == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_later_release_stops_its_partition_and_no_other() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let mut later = header("weather", 1);
    later[0] = 2;
    pipeline.kafka.write(topic, 0, b"{}", Some(&later)).await;
    pipeline
        .kafka
        .write(topic, 1, b"{}", Some(&header("undeclared", 1)))
        .await;
    once("both told", async || {
        let log = pipeline.consumers[0].log();
        log.contains("upgrade the consumer") && log.contains("is not declared")
    })
    .await;
    let mut client = pipeline.client();
    for n in 0..30 {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
    let elsewhere = pipeline
        .records("weather")
        .await
        .iter()
        .filter(|r| r.partition > 1)
        .count();
    assert!(elsewhere > 0 && elsewhere < 30);
    let stream = pipeline.stream("weather");
    once("the other partitions archived", async || {
        pipeline.archive.of_stream(stream).await.len() == elsewhere
    })
    .await;
    assert!(pipeline.archive.dead_letters().await.is_empty());
    assert!(pipeline.consumers[0].is_ready().await);
}

/// What a command of the consumer prints, line by line, its exit status, and how long it took.
async fn command(
    pipeline: &Pipeline,
    verb: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Vec<String>, Option<i32>, Duration) {
    let mut command = pipeline.consumers[0].command(verb);
    command
        .args(arguments)
        .env("RUST_BACKTRACE", "1")
        .envs(environment.iter().copied());
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("joined").expect("a program that runs");
    let text = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8_lossy(&text)
        .lines()
        .map(Into::into)
        .collect();
    (lines, output.status.code(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_given_something_wrong_says_so_in_one_line() {
    let pipeline = Pipeline::weather().start().await;
    for (verb, argument, told) in [
        (
            "rebuild",
            "nobody",
            "no stream is called nobody; there are weather",
        ),
        ("dead-letters show", "nobody/x/0/1", "nobody/x/0/1"),
        ("dead-letters replay", "nobody/x/0/1", "nobody/x/0/1"),
    ] {
        let (lines, status, _) = command(&pipeline, verb, &[argument], &[]).await;
        let [line] = lines.as_slice() else {
            panic!("{verb} has more or less to say than a line: {lines:#?}");
        };
        assert!(line.starts_with("Error: ") && line.contains(told), "{line}");
        assert_eq!(status, Some(1), "{verb}");
    }
    let given = format!("\"partitions\":\"{}: 0-5\"", pipeline.topic("weather"));
    once(&format!("{given} told"), async || {
        pipeline.consumers[0].log().contains(&given)
    })
    .await;
}

/// Somebody sits in front of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_store_is_away_gives_up_and_names_the_address() {
    let pipeline = Pipeline::weather().start().await;
    let kafka = ("AGUACERO_KAFKA_BROKERS", "127.0.0.1:1");
    let mongodb = ("AGUACERO_MONGODB_URI", "mongodb://me:secret@127.0.0.1:1");
    let redis = ("AGUACERO_REDIS_URL", "redis://:secret@127.0.0.1:1");
    let (list, replay) = ("dead-letters list", "dead-letters replay --all");
    let run = async |verb: &str, away: (&str, &str), store: &str| {
        let (lines, status, took) = command(&pipeline, verb, &[], &[away]).await;
        let last = lines.last().map(String::as_str).unwrap_or_default();
        let told = format!("Error: {store} at 127.0.0.1:1 is away");
        assert!(last.starts_with(&told), "{told}: {lines:#?}");
        assert!(!lines.concat().contains("secret"), "{lines:#?}");
        assert_eq!(status, Some(1), "{verb} without {store}");
        assert!(took.as_secs() < 45, "{verb} without {store}: {took:?}");
    };
    let rebuilds = async {
        tokio::join!(
            run("rebuild weather", kafka, "Kafka"),
            run("rebuild weather", mongodb, "MongoDB"),
            run("rebuild weather", redis, "Redis")
        )
    };
    tokio::join!(
        rebuilds,
        run(list, mongodb, "MongoDB"),
        run(replay, kafka, "Kafka")
    );
}

/// What `consumer dead-letters …` prints, and whether it succeeds.
async fn dead_letters(pipeline: &Pipeline, verb: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = pipeline.consumers[0].command(&format!("dead-letters {verb}"));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("joined").expect("a program that runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

async fn letter(pipeline: &Pipeline, reason: &str) -> Document {
    eventually(&format!("a letter of {reason}"), async || {
        let filter = doc! { "reason": reason };
        let letters = pipeline.archive.find("dead_letters", filter).await;
        letters.into_iter().next().ok_or("none yet".into())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_shown_and_replayed_under_its_id_and_archived_once() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let cut_off = r#"{"texto": "Su lluvia", "país": "#;
    let header = header("weather", 9);
    let write = pipeline
        .kafka
        .write(topic, 2, cut_off.as_bytes(), Some(&header));
    write.await;
    let malformed = letter(&pipeline, "malformed").await;
    let id = malformed.get_str("_id").expect("its place");

    let (done, listed) = dead_letters(&pipeline, "list", &["--reason", "malformed"]).await;
    assert!(
        done && listed.contains(id) && listed.contains("1 dead letters"),
        "{listed}"
    );
    let (done, shown) = dead_letters(&pipeline, "show", &[id]).await;
    let event = EventId([9; 16]).to_string();
    assert!(
        done && shown.contains(cut_off) && shown.contains(&event),
        "{shown}"
    );
    let (done, raw) = dead_letters(&pipeline, "show", &[id, "--value"]).await;
    assert!(done && raw == cut_off, "{raw}");

    // As it is, it becomes a dead letter once more; mended, it is archived.
    let (done, again) = dead_letters(&pipeline, "replay", &["--all"]).await;
    assert!(done && again.contains("again at offset 1"), "{again}");
    once("dead once more", async || {
        pipeline.archive.dead_letters().await.len() == 2
    })
    .await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), tweet(3)).expect("written");
    let path = file.path().to_str().expect("a path");
    for _ in 0..2 {
        let (done, mended) = dead_letters(&pipeline, "replay", &[id, "--value", path]).await;
        assert!(done, "{mended}");
    }
    pipeline
        .client()
        .answer(&Request::json("/input", tweet(4)))
        .await
        .accepted(1);
    let stream = pipeline.stream("weather");
    once("archived and counted once", async || {
        pipeline.redis.shown(stream).await.total == 2
            && pipeline.redis.pending(stream).await.is_empty()
            && pipeline.records("weather").await.len() == 5
    })
    .await;
    let archived = pipeline.archive.of_stream(stream).await;
    let ids: Vec<_> = archived.iter().map(e2e::archive::id_of).collect();
    assert!(ids.len() == 2 && ids.contains(&EventId([9; 16])), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_without_a_stream_is_replayed_only_when_told_which() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    pipeline
        .kafka
        .write(topic, 0, tweet(1).as_bytes(), None)
        .await;
    let foreign = letter(&pipeline, "no-header").await;
    let id = foreign.get_str("_id").expect("its place");
    let (done, told) = dead_letters(&pipeline, "replay", &[id]).await;
    assert!(!done && told.contains("say --as weather"), "{told}");
    let (done, told) = dead_letters(&pipeline, "replay", &["nobody/x/0/1"]).await;
    assert!(!done && told.contains("nobody/x/0/1"), "{told}");
    let (done, told) = dead_letters(&pipeline, "replay", &[id, "--as", "weather"]).await;
    assert!(done, "{told}");
    let stream = pipeline.stream("weather");
    once("archived and counted", async || {
        pipeline.redis.shown(stream).await.total == 1
    })
    .await;
    let (done, told) = dead_letters(&pipeline, "replay", &["--all"]).await;
    assert!(done, "nothing is left to do, which is no mistake: {told}");
    assert_eq!(pipeline.archive.of_stream(stream).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_whose_stream_is_not_declared_any_more_is_not_replayed_into_its_topic() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let header = header("weather", 5);
    pipeline
        .kafka
        .write(topic, 1, b"{\"texto\": ", Some(&header))
        .await;
    let malformed = letter(&pipeline, "malformed").await;
    let id = malformed.get_str("_id").expect("its place");

    // The processes that run have read the file before.
    let command = pipeline.consumers[0].command("check");
    let mut arguments = command.get_args().skip_while(|a| *a != "--config");
    let file = arguments.nth(1).expect("the file");
    let declared = std::fs::read_to_string(file).expect("the file");
    let renamed = declared.replace("streams.weather", "streams.meteo");
    let elsewhere = format!("topic = \"{topic}-2\"");
    let moved = declared.replace(&format!("topic = \"{topic}\""), &elsewhere);
    let moved = format!("{moved}\n[topics.{topic}-2]\npartitions = 1\nreplication = 1\n");
    for (now, told) in [
        (renamed, "its stream weather is not declared any more"),
        (moved, "its stream weather is declared for topic"),
    ] {
        assert_ne!(now, declared);
        std::fs::write(file, now).expect("written");
        let (done, refused) = dead_letters(&pipeline, "replay", &[id]).await;
        assert!(!done && refused.contains(told), "{refused}");
    }
    assert_eq!(
        pipeline.records("weather").await.len(),
        1,
        "nothing is sent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_was_replayed_or_discarded_is_kept_and_listed_no_more() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    for n in 0..4 {
        let (value, header): (&[u8], _) = match n {
            3 => (b"hello", None),
            _ => (b"{\"texto\": ", Some(header("weather", n))),
        };
        pipeline
            .kafka
            .write(topic, n.into(), value, header.as_deref())
            .await;
    }
    // Another event under an id that the archive has.
    let client = &mut pipeline.client();
    for n in 0..2 {
        let event = Request::json("/input", tweet(n)).key("mine");
        client.answer(&event).await.accepted(1);
    }
    letters(&pipeline, 5).await;
    let all = pipeline.archive.dead_letters().await;
    let ids = |reason: &str| -> Vec<_> {
        let mut such: Vec<_> = all.iter().collect();
        such.retain(|l| l.get_str("reason").ok() == Some(reason));
        such.iter()
            .map(|l| l.get_str("_id").expect("its place").to_owned())
            .collect()
    };
    let (malformed, foreign, conflict) = (ids("malformed"), ids("no-header"), ids("id-conflict"));
    let (done, told) = dead_letters(&pipeline, "replay", &[&foreign[0], "--as", "weather"]).await;
    assert!(done, "{told}");
    letters(&pipeline, 6).await; // it is no JSON: dead once more

    let (done, told) = dead_letters(&pipeline, "discard", &[&malformed[0], &conflict[0]]).await;
    assert!(
        done && told.contains(&format!("{}: discarded", malformed[0])),
        "{told}"
    );
    assert!(
        told.contains(&format!("{}: discarded", conflict[0])),
        "{told}"
    );
    let (done, told) = dead_letters(&pipeline, "discard", &["nobody/x/0/1"]).await;
    assert!(!done && told.contains("nobody/x/0/1"), "{told}");

    let (_, listed) = dead_letters(&pipeline, "list", &[]).await;
    for gone in [&foreign[0], &malformed[0], &conflict[0]] {
        assert!(!listed.contains(gone), "{gone}: {listed}");
    }
    let summary = "3 dead letters; 3 that were replayed or discarded are not shown (--every)";
    assert!(listed.contains(summary), "{listed}");
    let (_, every) = dead_letters(&pipeline, "list", &["--every"]).await;
    assert!(every.contains("6 dead letters\n"), "{every}");
    assert_eq!(every.matches("(discarded)").count(), 2, "{every}");
    assert_eq!(every.matches("(replayed)").count(), 1, "{every}");
    let (_, shown) = dead_letters(&pipeline, "show", &[&conflict[0]]).await;
    assert!(shown.contains("discarded "), "{shown}");

    // All of a reason; what is discarded is not replayed with all.
    let (done, told) =
        dead_letters(&pipeline, "discard", &["--all", "--reason", "no-header"]).await;
    assert!(done && told.contains("0 dead letters discarded"), "{told}");
    let (done, told) = dead_letters(&pipeline, "discard", &["--all", "--stream", "weather"]).await;
    assert!(done && told.contains("3 dead letters discarded"), "{told}");
    let before = pipeline.records("weather").await.len();
    let (done, told) = dead_letters(&pipeline, "replay", &["--all"]).await;
    assert!(done, "{told}");
    assert_eq!(pipeline.records("weather").await.len(), before, "{told}");
    assert_eq!(
        pipeline.archive.dead_letters().await.len(),
        6,
        "they are kept"
    );
}

async fn letters(pipeline: &Pipeline, count: usize) {
    once(&format!("{count} dead letters"), async || {
        pipeline.archive.dead_letters().await.len() == count
    })
    .await;
}
/// Waits until a partition of the weather's topic has stopped, and the group knows.
async fn stopped(pipeline: &Pipeline, partition: i32, at: i64) {
    let topic = pipeline.topic("weather");
    let place = format!("consumer dead-letters pass-over {topic}/{partition}/{at}");
    once(&format!("{place} told"), async || {
        pipeline.consumers[0].log().contains(&place)
    })
    .await;
    once("committed", async || {
        let group = pipeline.group();
        let committed = pipeline.kafka.committed(group, topic, partition).await;
        committed.next == Some(at) && committed.stopped
    })
    .await;
}

async fn archived(pipeline: &Pipeline, ids: &[u8]) {
    let stream = pipeline.stream("weather");
    eventually(&format!("{ids:?} archived"), async || {
        let archived = pipeline.archive.of_stream(stream).await;
        let mut archived: Vec<_> = archived
            .iter()
            .map(|d| e2e::archive::id_of(d).0[0])
            .collect();
        archived.sort_unstable();
        if archived == ids {
            Ok(())
        } else {
            Err(format!("{archived:?}"))
        }
    })
    .await;
}

/// What stops a partition, and cannot be mended otherwise, need not stop it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_at_which_a_partition_has_stopped_is_passed_over_into_the_dead_letters() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let mut later = header("weather", 1);
    later[0] = 2;
    let ours = |n| header("weather", n);
    for (n, header) in [(2, ours(2)), (1, later), (3, ours(3))] {
        let value = tweet(n);
        let write = pipeline
            .kafka
            .write(topic, 0, value.as_bytes(), Some(&header));
        write.await;
    }
    let place = |offset: i64| format!("{topic}/0/{offset}");
    stopped(&pipeline, 0, 1).await;
    archived(&pipeline, &[2]).await;
    once("it is told where readiness is asked for", async || {
        let told = pipeline.consumers[0].readiness().await;
        told.is_some_and(|(status, told)| {
            status == 200 && told.contains(&format!("pass-over {topic}/0/1"))
        })
    })
    .await;
    for (place, told) in [
        (
            place(0),
            "has not stopped at 0: everything below 1 is archived",
        ),
        (place(2), "has stopped at 1, and not at 2"),
        (place(3), "there is no record at 3"),
        (format!("{topic}/1/0"), "there is no record at 0"),
        (format!("{topic}/77/0"), "there is no partition 77"),
        ("nobody/0/1".into(), "no topic is called nobody"),
        ("1".into(), "TOPIC/PARTITION/OFFSET"),
    ] {
        let (done, said) = dead_letters(&pipeline, "pass-over", &[&place]).await;
        assert!(!done && said.contains(told), "{place}: {said}");
    }
    let why = ["--why", "nobody has its release"];
    let arguments = [place(1)];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(why).collect();
    let (done, said) = dead_letters(&pipeline, "pass-over", &arguments).await;
    assert!(
        done && said.contains("1 offsets; its partition goes on at 2"),
        "{said}"
    );
    archived(&pipeline, &[2, 3]).await;
    let letter = letter(&pipeline, "passed-over").await;
    assert_eq!(letter.get_i64("offset").ok(), Some(1), "{letter}");
    assert_eq!(letter.get_str("detail").ok(), Some(why[1]));
    let value = letter.get_binary_generic("value").ok();
    assert_eq!(value.map(Vec::as_slice), Some(tweet(1).as_bytes()));
    once("it has not stopped any more", async || {
        let gauge = "aguacero_consumer_stopped_partition";
        pipeline.consumers[0].metric(gauge).await == 0.0
    })
    .await;
    once("committed", async || {
        let committed = pipeline.kafka.committed(pipeline.group(), topic, 0).await;
        committed.next == Some(3) && !committed.stopped
    })
    .await;
    let (done, said) = dead_letters(&pipeline, "pass-over", &[&place(1)]).await;
    assert!(!done && said.contains("has not stopped"), "{said}");
}

/// Whoever may write to the topic can pack as much into a batch as librdkafka does not unpack.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_expands_beyond_all_bounds_is_told_with_its_place_and_passed_over_whole() {
    let pipeline = Pipeline::weather().start().await;
    let topic = pipeline.topic("weather");
    let write = async |n: u8| {
        let (value, header) = (tweet(n.into()), header("weather", n));
        let write = pipeline
            .kafka
            .write(topic, 0, value.as_bytes(), Some(&header));
        write.await;
    };
    write(1).await;
    let large = vec![b'x'; 50_000_000];
    pipeline
        .kafka
        .write_batch(topic, 0, &[large.as_slice(); 3], &[])
        .await;
    write(2).await;
    stopped(&pipeline, 0, 1).await;
    let place = format!("{topic}/0/1");
    let (done, said) = dead_letters(&pipeline, "pass-over", &[&place]).await;
    assert!(
        done && said.contains("3 offsets; its partition goes on at 4"),
        "{said}"
    );
    archived(&pipeline, &[1, 2]).await;
    let letter = letter(&pipeline, "passed-over").await;
    assert_eq!(letter.get_i64("passed_to").ok(), Some(4), "{letter}");
    assert!(
        letter
            .get_str("cut")
            .is_ok_and(|cut| cut.contains("offsets 1 to 3")),
        "{letter}"
    );
    assert!(letter.get("value").is_none(), "{letter}");
}
