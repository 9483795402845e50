//! Whatever happens to the processes, in whatever order: when it is over, everything is exact.

use std::{fmt, time::Duration};

use e2e::{
    Pipeline, Process,
    load::{Load, Then},
    seed::Dice,
};

const CLIENTS: usize = 4;

/// Things that happen in one run: 60, or what E2E_STEPS says.
fn steps() -> usize {
    std::env::var("E2E_STEPS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Running,
    Frozen,
    Down,
}

/// What has happened, for whoever reads a failure.
#[derive(Default)]
struct History(Vec<String>);

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Lets one more thing happen to a process.
async fn happen(process: &mut Process, state: State, dice: &mut Dice) -> (State, &'static str) {
    match (state, dice.below(4)) {
        (State::Down, _) => {
            process.start();
            (State::Running, "started")
        }
        (State::Frozen, 0) => {
            process.kill();
            (State::Down, "killed while frozen")
        }
        (State::Frozen, _) => {
            process.thaw();
            (State::Running, "thawed")
        }
        (State::Running, 0) => {
            process.freeze().await;
            (State::Frozen, "frozen")
        }
        (State::Running, 1) => {
            process.terminate(); // and whether it gets to its end, or is killed before, is left open
            tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
            process.kill();
            (State::Down, "told to end, and killed")
        }
        (State::Running, _) => {
            process.kill();
            (State::Down, "killed")
        }
    }
}

/// A run of things that happen under load. Afterwards everything runs, and the load has found its end.
async fn run(pipeline: &mut Pipeline, dice: &mut Dice, topic_too: bool) -> (usize, History) {
    let load = Load::start(pipeline.address(), CLIENTS, Then::Retry);
    load.progress(20).await;
    let processes = pipeline.processes().count();
    let (mut states, mut history) = (vec![State::Running; processes], History::default());
    for _ in 0..steps() {
        let what = match dice.below(2 + 5 * processes as u64) {
            0 => {
                pipeline.redis.flush().await;
                "redis emptied".to_owned()
            }
            1 if topic_too => {
                let topic = pipeline.topic("weather").to_owned();
                pipeline.kafka.recreate(&topic, 6).await;
                "topic made again".to_owned()
            }
            n => {
                let which = n as usize % processes;
                let process = pipeline.process(which);
                let (state, what) = happen(process, states[which], dice).await;
                states[which] = state;
                format!("{} {what}", process.name())
            }
        };
        history.0.push(what);
        // The pace of what happens is part of the chance.
        tokio::time::sleep(Duration::from_millis(dice.below(250))).await;
    }
    for (which, state) in states.into_iter().enumerate() {
        match state {
            State::Running => {}
            State::Frozen => pipeline.process(which).thaw(),
            State::Down => pipeline.process(which).start(),
        }
    }
    load.progress(20).await;
    (load.finish().await.stored.len(), history)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_the_processes_comes_out_exact() {
    let mut pipeline = Pipeline::weather()
        .consumers(2)
        .with("consumer.session_timeout_ms", 6000)
        .with("consumer.batch_records_max", 30)
        .with("gateway.workers", 2)
        .start()
        .await;
    let (stored, history) = run(&mut pipeline, &mut Dice::for_test("chaos"), false).await;
    eprintln!("{stored} stored, while: {history}");
    pipeline.exact("weather", stored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_processes_and_topic_the_archive_is_shown() {
    let mut pipeline = Pipeline::weather()
        .with("consumer.instance", "the-only-one")
        .with("consumer.batch_records_max", 30)
        .start()
        .await;
    let (stored, history) = run(
        &mut pipeline,
        &mut Dice::for_test("chaos with the topic"),
        true,
    )
    .await;
    eprintln!("{stored} stored, while: {history}");
    let archive = pipeline.exact_beyond_kafka("weather").await;
    assert!(
        archive.len() <= stored,
        "the archive holds {}",
        archive.len()
    );
}
