//! Redis is away: frames wait, and nothing is acknowledged that is not there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use aguacero::{
    counts::Deltas,
    ledger::{self, Settled},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::fixture::{Gateway, OwnRedis, PATIENCE, Writer, keys};

/// Long enough for an acknowledgement that must not come.
const A_WHILE: Duration = Duration::from_millis(400);

async fn assert_silent(gateway: &mut Gateway) {
    let early = timeout(A_WHILE, gateway.receive()).await;
    assert!(early.is_err(), "{early:?}");
}

/// A consumer settles the first offset of the only position, which the archive holds nothing of.
async fn settle_first(redis: &OwnRedis, writer: &Writer) {
    let mut con = redis.connect().await;
    let look = ledger::look(&mut con, writer.stream(), &[]).await;
    let held = look.expect("listed").positions;
    let nothing = Deltas::none(writer.stream());
    let settled = ledger::settle(
        &mut con,
        writer.stream(),
        &held[0],
        (None, 0),
        &nothing,
        None,
    )
    .await;
    assert_eq!(settled.expect("settled"), Settled::Done);
}

#[tokio::test]
async fn frames_wait_while_redis_is_away_and_are_applied_when_it_is_back() {
    let mut redis = OwnRedis::start().await;
    let writer = Writer::on(&redis.url(), 20_000).await;
    let mut gateway = writer.gateway(1).await;
    gateway.count(writer.frame(1, 0, &["before"])).await;

    redis.kill();
    gateway.send_frame(writer.frame(2, 1, &["a"])).await;
    gateway.send_frame(writer.frame(3, 2, &["b"])).await;
    assert_silent(&mut gateway).await;

    redis.restart().await; // empty, and without the scripts
    assert_eq!(
        (gateway.ack().await.sequence, gateway.ack().await.sequence),
        (2, 3)
    );
    assert_eq!(writer.shown().await, (2, keys(&[("a", 1), ("b", 1)])));
}

/// Passes everything on to Redis, and ends the connection instead of the answer to a script, `times` times.
async fn losing_answers(redis: &OwnRedis, times: usize) -> (String, Arc<AtomicUsize>) {
    let target = redis.url().replace("redis://", "").replace("/0", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("redis://{}/0", listener.local_addr().expect("bound"));
    let left = Arc::new(AtomicUsize::new(times));
    let losing = Arc::clone(&left);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let to = TcpStream::connect(&target).await.expect("Redis");
            tokio::spawn(pass(from, to, Arc::clone(&losing)));
        }
    });
    (url, left)
}

async fn pass(mut from: TcpStream, mut to: TcpStream, left: Arc<AtomicUsize>) {
    let (mut request, mut answer) = ([0; 4096], [0; 4096]);
    let mut is_script = false;
    loop {
        tokio::select! {
            Ok(n) = from.read(&mut request) => {
                is_script = request[..n].windows(7).any(|w| w == b"EVALSHA");
                if n == 0 || to.write_all(&request[..n]).await.is_err() {
                    return;
                }
            }
            Ok(n) = to.read(&mut answer) => {
                let less = |n: usize| n.checked_sub(1);
                let is_answer = is_script && !answer.starts_with(b"-NOSCRIPT");
                if is_answer && left.fetch_update(SeqCst, SeqCst, less).is_ok() {
                    return;
                }
                if n == 0 || from.write_all(&answer[..n]).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}

#[tokio::test]
async fn a_frame_whose_answer_from_redis_is_lost_twice_is_acknowledged_and_counted_once() {
    let redis = OwnRedis::start().await;
    let (url, left) = losing_answers(&redis, 2).await;
    let writer = Writer::on(&url, 20_000).await;
    let mut gateway = writer.gateway(1).await;
    gateway.count(writer.frame(1, 0, &["a", "b"])).await;
    assert_eq!(left.load(SeqCst), 0, "both were lost");
    left.store(2, SeqCst);
    gateway.count(writer.frame(2, 2, &["b"])).await;
    assert_eq!(left.load(SeqCst), 0, "both were lost");
    assert_eq!(writer.shown().await, (3, keys(&[("a", 1), ("b", 2)])));
}

/// By the redis-writer, by a consumer and at the beginning of a rebuild. On a Redis of its own: whoever else
/// has just loaded a script would miss it.
#[tokio::test]
async fn scripts_that_are_forgotten_between_two_calls_are_loaded_each_time() {
    let redis = OwnRedis::start().await;
    let writer = Writer::on(&redis.url(), 20_000).await;
    let mut gateway = writer.gateway(1).await;
    for n in 0..3 {
        redis.forget_scripts().await;
        gateway.count(writer.frame(n + 1, n as i64, &["a"])).await;
    }
    assert_eq!(writer.shown().await, (3, keys(&[("a", 3)])));

    redis.forget_scripts().await;
    settle_first(&redis, &writer).await;
    assert_eq!(writer.shown().await, (2, keys(&[("a", 2)])));

    redis.forget_scripts().await;
    let cleared = ledger::clear(&mut redis.connect().await, writer.stream(), None, None).await;
    cleared.expect("cleared");
    assert_eq!(writer.shown().await, (0, keys(&[])));
}

#[tokio::test]
async fn frames_wait_while_redis_is_full_and_settle_makes_room() {
    let redis = OwnRedis::start().await;
    let writer = Writer::on(&redis.url(), 20_000).await;
    let mut gateway = writer.gateway(1).await;
    gateway.count(writer.frame(1, 0, &["a"])).await;
    redis.config_set("maxmemory", "1").await;
    gateway.send_frame(writer.frame(2, 1, &["b"])).await;
    assert_silent(&mut gateway).await;
    assert_eq!(writer.shown().await, (1, keys(&[("a", 1)])));

    settle_first(&redis, &writer).await;
    assert_eq!(writer.shown().await.0, 0);

    redis.config_set("maxmemory", "0").await;
    assert_eq!(gateway.ack().await.problems, [""; 0]);
    assert_eq!(writer.shown().await, (1, keys(&[("b", 1)])));
}

#[tokio::test]
async fn it_is_ready_once_it_has_seen_redis_and_stays_so() {
    let mut redis = OwnRedis::start().await;
    redis.kill();
    let writer = Writer::on(&redis.url(), 20_000).await;
    let mut gateway = writer.gateway(1).await; // it serves meanwhile
    assert!(!writer.is_ready().await);

    redis.restart().await;
    let ready = async {
        while !writer.is_ready().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ready).await.expect("ready");
    gateway.count(writer.frame(1, 0, &["a"])).await;

    redis.kill();
    gateway.send_frame(writer.frame(2, 1, &["a"])).await;
    assert_silent(&mut gateway).await;
    assert!(writer.is_ready().await);
}

#[tokio::test]
async fn while_redis_is_away_only_so_much_is_read() {
    // Bounded by their bytes (64 MiB), or by their number (256, and what the socket itself holds).
    for (key_bytes, least, most) in [(8 << 20, 7, 40), (1 << 10, 256, 2000)] {
        let mut redis = OwnRedis::start().await;
        let writer = Writer::on(&redis.url(), 0).await;
        let mut gateway = writer.gateway(1).await;
        redis.kill();

        let key = "k".repeat(key_bytes);
        let mut sent: u64 = 0;
        loop {
            let frame = writer.frame(sent + 1, sent as i64, &[&key]);
            if timeout(4 * A_WHILE, gateway.send_frame(frame))
                .await
                .is_err()
            {
                break;
            }
            sent += 1;
            assert!(sent < most, "{sent} frames of {key_bytes} bytes were read");
        }
        assert!(
            sent >= least,
            "only {sent} frames of {key_bytes} bytes were read"
        );
    }
}
