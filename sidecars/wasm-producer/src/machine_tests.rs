//! Modules that misbehave: what becomes of the slabs that they had.

use aguacero_proto::produce::{Request, Slab};
use producer_engine::Settings;

use super::*;

/// The module of `tests/misbehaves.wat` that does this with a slab and in its turn.
fn module(submit: &str, advance: &str) -> Arc<Module> {
    let text = include_str!("../tests/misbehaves.wat");
    let text = text.replace("SUBMIT)", &format!("{submit})"));
    let text = text.replace("    ADVANCE\n", &format!("    {advance}\n"));
    Arc::new(Module::of_text(&text, 4 << 20, Duration::from_millis(200)))
}

struct Bench {
    guest: Guest<u64>,
    next: mpsc::UnboundedSender<Arc<Module>>,
    now: Time,
}

fn bench(module: Arc<Module>) -> Bench {
    let (next, modules) = mpsc::unbounded_channel();
    let beginning = Beginning {
        settings: Settings::default(),
        batch_bytes_max: Vec::new(),
    };
    Bench {
        guest: Guest::new(module, modules, beginning).expect("it begins"),
        next,
        now: Time::ZERO,
    }
}

impl Bench {
    fn submit(&mut self, carried: u64) {
        let slab = Slab {
            values: Bytes::from_static(b"ab"),
            ends: vec![1, 2],
            streams: vec!["s".into()],
            requests: vec![Request {
                events: 2,
                ..Request::default()
            }],
            ..Slab::default()
        };
        self.guest.submit(Job { slab, carried }, b"ab", self.now);
    }

    /// What is told of slabs after a turn.
    fn turn(&mut self) -> Vec<(u64, Outcome)> {
        self.guest.advance(self.now);
        let mut told = Vec::new();
        while let Some(action) = self.guest.action() {
            if let Action::Receipt(receipt) = action {
                assert_eq!(receipt.parts.len(), 1);
                assert_eq!(receipt.parts[0].records, 0..2, "each record of it");
                told.push((receipt.slab.carried, receipt.parts[0].outcome.clone()));
            }
        }
        told
    }

    fn replace(&mut self, module: Arc<Module>) {
        self.next.send(module).expect("it is there");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.guest.poll_replaced(&mut cx);
    }
}

const UNKNOWN: Outcome = Outcome::Unknown(MODULE_STOPPED);
const NOT_STORED: Outcome = Outcome::NotStored(MODULE_STOPPED);

#[test]
fn what_a_module_had_that_traps_is_told_unknown_and_another_instance_goes_on() {
    // The second slab traps.
    let trap = "(if (i32.gt_u (global.get $held) (i32.const 1)) (then unreachable))";
    let mut bench = bench(module(trap, ""));
    bench.submit(1);
    assert_eq!(bench.turn(), []);
    bench.submit(2);
    assert_eq!(bench.turn(), [(1, UNKNOWN), (2, UNKNOWN)]);
    assert_eq!(bench.guest.instances, 2, "the next one begins at once");
    bench.submit(3);
    assert_eq!(bench.turn(), []);
    assert!(bench.guest.is_ready());
}

#[test]
fn a_module_that_does_not_return_is_stopped() {
    let mut bench = bench(module("(loop $again (br $again))", ""));
    bench.submit(1);
    assert_eq!(bench.turn(), [(1, UNKNOWN)]);
}

#[test]
fn a_module_that_takes_all_memory_gets_no_more_than_it_may() {
    let all = "(if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))";
    let module = module(all, "");
    let mut instance = Instance::of(&module).expect("it begins");
    let stopped = instance
        .submit(0, b"", 0)
        .expect_err("4 MiB are all it has");
    assert_eq!(stopped.reason, StopReason::Memory);
    let mut bench = bench(module);
    bench.submit(1);
    assert_eq!(bench.turn(), [(1, UNKNOWN)]);
}

#[test]
fn a_module_whose_figures_are_wrong_is_stopped() {
    // It says that it holds nothing.
    let mut bench = bench(module("(global.set $held (i32.const 0))", ""));
    bench.submit(1);
    assert_eq!(bench.turn(), [(1, UNKNOWN)]);
}

#[test]
fn one_that_is_stopped_again_and_again_is_begun_ever_later_and_takes_nothing_meanwhile() {
    let mut bench = bench(module("unreachable", ""));
    bench.submit(1);
    assert_eq!(bench.turn(), [(1, UNKNOWN)]);
    let mut pauses = Vec::new();
    for n in 2..12 {
        bench.submit(n);
        assert_eq!(bench.turn(), [(n, UNKNOWN)]);
        let at = bench.guest.deadline().expect("it is begun again");
        pauses.push(at.saturating_sub(bench.now));
        bench.submit(100 + n);
        assert_eq!(bench.turn(), [(100 + n, NOT_STORED)], "certainly nowhere");
        bench.now = at;
        assert_eq!(bench.turn(), []);
    }
    assert_eq!(pauses[..3], [PAUSE, 2 * PAUSE, 4 * PAUSE]);
    assert_eq!(pauses.last(), Some(&PAUSE_MAX));
}

#[test]
fn another_module_begins_when_nothing_is_in_flight_and_has_what_came_meanwhile() {
    // A module that gives up what it holds when its time is 7 s: a trap stands for receipts here.
    let ends = "(if (i64.eq (local.get 0) (i64.const 7000000000)) (then unreachable))";
    let mut bench = bench(module("", ends));
    bench.submit(1);
    assert_eq!(bench.turn(), []);
    bench.replace(module("", ""));
    bench.submit(2);
    assert_eq!(
        bench.turn(),
        [],
        "the first has one in flight, and the second waits"
    );
    assert_eq!((bench.guest.instances, bench.guest.held()), (1, 2));
    bench.now = Duration::from_secs(7);
    assert_eq!(bench.turn(), [(1, UNKNOWN)]);
    assert_eq!(bench.turn(), []);
    assert_eq!((bench.guest.instances, bench.guest.held()), (2, 1));
}

#[test]
fn a_module_that_refuses_the_settings_is_an_error_at_start() {
    let text = r#"(module (memory (export "memory") 1) (data (i32.const 0) "no such codec")
        (func (export "version") (result i32) (i32.const 1))
        (func (export "input") (param i32) (result i32) (i32.const 1024))
        (func (export "start") (param i32) (result i64) (i64.const 13))
        (func (export "submit") (param i64 i32 i64)) (func (export "opened") (param i64 i64))
        (func (export "received") (param i64 i32 i64)) (func (export "lost") (param i64 i32 i64))
        (func (export "advance") (param i64) (result i64) (i64.const 0))
        (func (export "sent") (param i64 i32) (result i64) (i64.const 0)))"#;
    let module = Arc::new(Module::of_text(text, 1 << 20, Duration::from_secs(1)));
    let beginning = Beginning {
        settings: Settings::default(),
        batch_bytes_max: Vec::new(),
    };
    let (_next, modules) = mpsc::unbounded_channel();
    let refused = Guest::<u64>::new(module, modules, beginning).err();
    let told = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains("no such codec"), "{told}");
}

/// It never says that it is ready.
fn unready() -> Arc<Module> {
    let text = include_str!("../tests/misbehaves.wat");
    let text = text.replace("SUBMIT)", ")").replace("    ADVANCE\n", "");
    let text = text.replace(
        "(i32.const 1) (i32.const 1))",
        "(i32.const 1) (i32.const 0))",
    );
    Arc::new(Module::of_text(&text, 4 << 20, Duration::from_secs(1)))
}

#[test]
fn what_comes_before_an_instance_knows_kafka_waits_for_it_and_not_for_ever() {
    let mut bench = bench(unready());
    bench.submit(1);
    assert_eq!(bench.turn(), []);
    assert_eq!(bench.guest.held(), 1);
    bench.now = bench.guest.deadline().expect("it does not wait for ever");
    assert_eq!(bench.turn(), [(1, Outcome::NotStored(TIMED_OUT))]);
    bench.submit(2);
    bench.replace(module("", ""));
    bench.turn(); // the next one begins
    assert_eq!(bench.turn(), []);
    assert_eq!(
        (bench.guest.instances, bench.guest.held.len()),
        (2, 1),
        "it was given"
    );
}

#[test]
fn a_module_that_keeps_what_it_was_given_is_stopped_and_another_takes_its_place() {
    let mut bench = bench(module("", ""));
    bench.submit(1);
    assert_eq!(bench.turn(), []);
    bench.replace(module("", ""));
    bench.submit(2);
    let last = bench.guest.delivery_timeout() + OVERDUE;
    let mut told = Vec::new();
    while bench.guest.instances == 1 {
        assert!(bench.now <= last + LOOK_EVERY, "it is never stopped");
        bench.now += LOOK_EVERY;
        told.extend(bench.turn());
    }
    assert!(told.contains(&(1, UNKNOWN)), "{told:?}");
}

#[test]
fn an_instance_that_traps_where_no_time_is_told_is_begun_after_a_pause_all_the_same() {
    let mut bench = bench(module("", ""));
    bench.now = Duration::from_secs(1000);
    bench.turn();
    for _ in 0..3 {
        bench
            .guest
            .stop(&Stopped::protocol("as by a call without the time"));
    }
    assert!(bench.guest.begin_at > bench.now);
}
