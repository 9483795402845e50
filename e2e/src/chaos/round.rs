//! A round: a pipeline of its own under load, some faults, and the oracle's verdict.

use std::time::{Duration, Instant};

use super::{
    begun::Begun,
    fault::Fault,
    figures::Figures,
    probe::{self, Probe},
};
use crate::{
    ON_THREE_BROKERS, Pipeline, edited,
    load::{COUNTRIES, Feed, Load, Plan, WEATHER},
    oracle::Verdict,
    outage::Outages,
    repository,
    seed::Dice,
};

/// Clients that retry, and clients that give up.
const CLIENTS: usize = 2 * COUNTRIES.len();
const GIVE_UP: usize = 4;
/// Pause of a client after each event, which bounds what the oracle has to read.
const PACE: Duration = Duration::from_millis(8);
/// A second stream of the same topic, without keys, by arrays.
const HAIL: Feed = Feed {
    stream: "hail",
    path: "/hail",
    batch: 12,
};
const HAIL_DECLARATION: &str = r#"
[streams.hail]
topic    = "messages"
access   = "open"
fields   = [
  { name = "texto", type = "string",  required = true },
  { name = "país",  type = "string",  required = true },
  { name = "n",     type = "integer", required = true },
]
counters = [
  { name = "by_country", by = ["país"] },
  { name = "by_n", by = ["n"], max_distinct = 100 },
]

[[streams.hail.routes]]
path = "/hail"
"#;
/// What the clients write to.
pub(super) const FEEDS: [Feed; 2] = [WEATHER, HAIL];
const HAIL_CLIENTS: usize = 4;
const HAIL_GIVE_UP: usize = 1;
const HAIL_PACE: Duration = Duration::from_millis(100);
/// Events stored before the first fault and after the last.
const SETTLE: usize = 40;

/// How the faults of a round follow each other.
#[derive(Debug, Clone)]
pub enum Mix {
    /// Each alone, and normal service is waited for and measured after it.
    Alone(Vec<Fault>),
    /// So many by chance, whenever they like, but for some.
    Mixture(usize, Vec<Fault>),
}

/// Two pods, two consumers, and the countries kept in order.
fn pipeline(outages: &Outages) -> crate::Builder {
    let by_country = [("spread  = \"sticky\"", "key = \"país\"")];
    let mut topics = [
        edited(&repository("aguacero.toml"), &by_country) + HAIL_DECLARATION,
        probe::DECLARATION.to_owned(),
    ];
    if outages.of_kind("kafka").len() > 1 {
        topics = topics.map(|toml| edited(&toml, &ON_THREE_BROKERS));
    }
    let toml = topics.join("\n");
    Pipeline::builder(&toml)
        .pods(2)
        .consumers(2)
        .wired()
        .clocks()
        .with("consumer.session_timeout_ms", 6000)
        .with("consumer.batch_records_max", 200)
        // Shorter than a broker may be frozen, so that outcomes do become unknown.
        .with("kafka.message_timeout_ms", 1500)
        .with("gateway.ack_timeout_ms", 2500)
        .with("gateway.request_timeout_ms", 5000)
}

/// Runs a round, and adds what it came to. `tell` is given what happens, as it happens.
pub async fn round(
    mix: &Mix,
    outages: &Outages,
    dice: &mut Dice,
    figures: &mut Figures,
    mut tell: impl FnMut(&str),
) -> Verdict {
    tell("starting");
    let mut pipeline = pipeline(outages).start().await;
    let weather = Plan {
        feed: WEATHER,
        clients: CLIENTS,
        give_up: GIVE_UP,
        pause: PACE,
        some_are_bad: true,
        some_are_odd: true,
    };
    let hail = Plan {
        feed: HAIL,
        clients: HAIL_CLIENTS,
        give_up: HAIL_GIVE_UP,
        pause: HAIL_PACE,
        some_are_bad: false,
        some_are_odd: true,
    };
    let loads = [weather, hail].map(|plan| Load::follow(plan, &pipeline.addresses()));
    progress(&loads).await;
    let mut unserved = None;
    match mix {
        Mix::Alone(faults) => {
            let mut probe = Probe::default();
            let first = probe.measure(&pipeline, Instant::now()).await;
            first.expect("normal service before any fault");
            for &fault in faults {
                tell(&fault.to_string());
                let begun = fault.begin(&mut pipeline, &loads, outages, &[], dice).await;
                let Some(mut begun) = begun else {
                    continue; // no wire to what has several members
                };
                if !begun.what.is_empty() {
                    tell(&begun.what);
                }
                tokio::time::sleep(fault.lasts(dice)).await;
                begun.end(&mut pipeline, outages).await;
                begun.count_anew(&pipeline).await;
                figures.happened(fault);
                match probe.measure(&pipeline, Instant::now()).await {
                    Ok(recovery) => {
                        figures.recovered(fault, recovery);
                        begun.undo(&mut pipeline);
                        begun.settled(&pipeline).await;
                    }
                    Err(what) => {
                        unserved = Some(format!("{what}, {:?} after {fault}", crate::DEADLINE));
                        break;
                    }
                }
            }
        }
        Mix::Mixture(faults, without) => {
            mixture(
                (*faults, without),
                &mut pipeline,
                &loads,
                outages,
                dice,
                figures,
                &mut tell,
            )
            .await;
        }
    }
    progress(&loads).await;
    tell("judging");
    let mut reports = Vec::new();
    for load in loads {
        reports.push(load.finish().await);
    }
    let mut verdict = pipeline.judge_all(&reports).await;
    verdict.violations.extend(unserved);
    figures.judged(&verdict);
    if !verdict.violations.is_empty() {
        for process in pipeline.processes() {
            eprintln!("{}", process.log_tail());
        }
    }
    verdict
}

async fn progress(loads: &[Load]) {
    for load in loads {
        load.progress(SETTLE).await;
    }
}

/// So many faults that overlap as chance wants it, without some. One service at most is away at a time.
async fn mixture(
    (faults, without): (usize, &[Fault]),
    pipeline: &mut Pipeline,
    loads: &[Load],
    outages: &Outages,
    dice: &mut Dice,
    figures: &mut Figures,
    tell: &mut impl FnMut(&str),
) {
    let mut active: Vec<(Instant, Begun)> = Vec::new();
    let mut ended = Vec::new();
    let mut left = faults;
    while left > 0 || !active.is_empty() {
        let now = Instant::now();
        let (over, on): (Vec<_>, Vec<_>) = active.into_iter().partition(|(until, _)| *until <= now);
        active = on;
        for (_, mut begun) in over {
            begun.end(pipeline, outages).await;
            ended.push(begun);
        }
        if left > 0 {
            let fault = Fault::any(dice);
            let goes = active.iter().all(|(_, b)| b.fault.goes_with(fault));
            if goes && !without.contains(&fault) {
                let busy: Vec<_> = active.iter().filter_map(|(_, b)| b.process).collect();
                if let Some(begun) = fault.begin(pipeline, loads, outages, &busy, dice).await {
                    tell(&format!("{fault} {}", begun.what));
                    figures.happened(fault);
                    active.push((Instant::now() + fault.lasts(dice), begun));
                    left -= 1;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
    }
    for begun in ended {
        begun.count_anew(pipeline).await;
    }
}
