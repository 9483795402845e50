//! The long form of the chaos tests: rounds of faults under load, each judged by the oracle. Needs
//! services that may be killed; `make chaos` starts them.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use e2e::{
    chaos::{Fault, Figures, Mix, round},
    outage::Outages,
    overload::{Offered, Plan, measure},
    progress::progress,
    redis_away,
    seed::Dice,
    unless_interrupted,
};

/// Kills, freezes, restarts and empties everything under load, and checks that nothing is lost and
/// nothing counted twice.
#[derive(Parser)]
#[command(name = "make chaos ARGS=\"…\"")]
struct Arguments {
    /// Rounds: each fault alone, with times measured, in every fourth; mixtures of faults in the others.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Faults of a mixture.
    #[arg(long, default_value_t = 20)]
    faults: usize,
    /// No round begins after so many minutes.
    #[arg(long, default_value_t = 600)]
    minutes: u64,
    /// Only faults with this in their names, each alone, three times a round: "kafka frozen". If given
    /// again, those come next.
    #[arg(long)]
    only: Vec<String>,
    /// Without faults that have this in their names. May be given again.
    #[arg(long)]
    without: Vec<String>,
    /// Instead of faults: Redis away for so many seconds under load, and how far the archive and the counters are behind.
    #[arg(long, value_name = "SECONDS")]
    redis_away: Option<u64>,
    /// With --redis-away: Redis is frozen and keeps what it had, instead of coming back empty.
    #[arg(long, requires = "redis_away")]
    frozen: bool,
    /// Instead of faults: five times the events that the broker's quota allows, over 100, 1,000 and 10,000
    /// connections, for so many seconds each.
    #[arg(long, value_name = "SECONDS")]
    overload: Option<u64>,
    /// Makes the same choices again; printed at the start and in the report.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    unless_interrupted(run(Arguments::parse())).await
}

async fn run(arguments: Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        now.as_secs()
    });
    let only: Vec<_> = arguments.only.iter().map(|part| named(part)).collect();
    let without: Vec<_> = arguments.without.iter().map(|part| named(part)).collect();
    if only.iter().chain(&without).any(Vec::is_empty) {
        eprintln!("chaos: no fault is called like that; there are:");
        Fault::all().iter().for_each(|fault| eprintln!("  {fault}"));
        return ExitCode::from(2);
    }
    let without = without.concat();
    let mut only = only.concat();
    only.retain(|fault| !without.contains(fault));
    let mut dice = Dice::new(seed);
    let outages = Outages::prepare().await;
    if let Some(seconds) = arguments.overload {
        return overload(&outages, Duration::from_secs(seconds)).await;
    }
    if let Some(seconds) = arguments.redis_away {
        let away = Duration::from_secs(seconds);
        println!(
            "{}",
            redis_away::measure(&outages, away, arguments.frozen).await
        );
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let mut figures = Figures::default();
    eprintln!("chaos: {} rounds, --seed {seed}", arguments.rounds);
    for number in 1..=arguments.rounds {
        if began.elapsed() > Duration::from_secs(60 * arguments.minutes) {
            break;
        }
        let mix = match number % 4 {
            _ if !only.is_empty() => Mix::Alone(only.repeat(3)),
            1 => {
                let mut all = Fault::all();
                all.retain(|fault| !without.contains(fault));
                Mix::Alone(shuffled(all, &mut dice))
            }
            _ => Mix::Mixture(arguments.faults, without.clone()),
        };
        let before = began.elapsed().as_secs();
        let mut count = 0;
        let mut history = Vec::new();
        let verdict = round(&mix, &outages, &mut dice, &mut figures, |what| {
            count += 1;
            let seconds = began.elapsed().as_secs();
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            history.push(format!("{:.3} {what}", now.as_secs_f64()));
            progress(&format!(
                "round {number}  {seconds:>5} s  {count:>3}  {what}"
            ));
        })
        .await;
        progress("");
        let took = began.elapsed().as_secs() - before;
        eprintln!("round {number} ({took} s): {verdict}");
        if !verdict.violations.is_empty() {
            history.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("\nchaos: seed {seed}, {minutes:.1} minutes\n\n{figures}");
    if figures.total.violations.is_empty() {
        println!("  Nothing lost, nothing archived or counted twice, nothing invented.");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// About 5,000 events a second in requests of ten.
const QUOTA: u64 = 800_000;
const EVENTS_PER_SECOND: u64 = 25_000;
/// Goodput may fall short of the quota by so much.
const GOODPUT_MIN: f64 = 0.9;

async fn overload(outages: &Outages, duration: Duration) -> ExitCode {
    println!(
        "overload: {QUOTA} bytes a second are allowed, {EVENTS_PER_SECOND} events a second offered\n"
    );
    println!(
        "{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>10}",
        "",
        "events/s",
        "of the",
        "events",
        "events",
        "stored",
        "stored",
        "any",
        "gateway",
        "producer",
        "normal",
        "exact"
    );
    println!(
        "{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>10}",
        "connections",
        "stored",
        "quota",
        "503",
        "504",
        "p50, s",
        "p99, s",
        "worst, s",
        "MiB",
        "MiB",
        "after, s",
        "after, s"
    );
    let mut is_good = true;
    for connections in [100, 1_000, 10_000] {
        let plan = Plan {
            connections,
            batch: 10,
            events_per_second: EVENTS_PER_SECOND,
            duration,
        };
        let figures = measure(&plan, QUOTA, outages).await;
        let told = &figures.told;
        let seconds = |times: &[Duration], share| Offered::quantile(times, share).as_secs_f64();
        println!(
            "{connections:>11}{:>9.0}{:>8.0}%{:>9}{:>9}{:>9.2}{:>10.2}{:>10.2}{:>10}{:>9}{:>9.2}{:>10.2}",
            told.stored as f64 / (duration.as_secs_f64() + 15.0),
            figures.goodput * 100.0,
            told.refused,
            told.unknown,
            seconds(&told.waited_stored, 0.5),
            seconds(&told.waited_stored, 0.99),
            seconds(&told.waited, 1.0),
            figures.gateway_peak >> 20,
            figures.producer_peak >> 20,
            figures.recovered.as_secs_f64(),
            figures.exact.as_secs_f64(),
        );
        println!(
            "{:>13}{:?}, {} without an answer; refused within {:.3} s, 99 in 100 within {:.3} s",
            "",
            told.answers,
            told.broken,
            seconds(&told.waited_refused, 0.5),
            seconds(&told.waited_refused, 0.99),
        );
        is_good &= figures.goodput > GOODPUT_MIN && told.without_retry_after == 0;
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Those that have `part` in their name.
fn named(part: &str) -> Vec<Fault> {
    let all = Fault::all().into_iter();
    all.filter(|fault| fault.to_string().contains(part))
        .collect()
}

fn shuffled(mut faults: Vec<Fault>, dice: &mut Dice) -> Vec<Fault> {
    for i in (1..faults.len()).rev() {
        faults.swap(i, dice.below(i as u64 + 1) as usize);
    }
    faults
}
