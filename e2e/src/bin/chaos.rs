//! The long form of the chaos tests: rounds of faults under load, each judged by the oracle. Needs
//! services that may be killed; `make chaos` starts them.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use e2e::{
    chaos::{Fault, Figures, Mix, round},
    outage::Outages,
    seed::Dice,
};

/// Kills, freezes, restarts and empties everything under load, and checks that nothing is lost and
/// nothing counted twice.
#[derive(Parser)]
#[command(name = "make chaos ARGS=\"…\"")]
struct Arguments {
    /// Rounds: every second one a mixture of faults, the others each fault alone, with times measured.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Faults of a mixture.
    #[arg(long, default_value_t = 20)]
    faults: usize,
    /// No round begins after so many minutes.
    #[arg(long, default_value_t = 600)]
    minutes: u64,
    /// Only faults with this in their names, each alone, three times a round: "kafka frozen".
    #[arg(long)]
    only: Option<String>,
    /// Makes the same choices again; printed at the start and in the report.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        now.as_secs()
    });
    let only = match arguments.only.as_deref().map(named) {
        Some(faults) if faults.is_empty() => {
            eprintln!("chaos: no fault is called like that; there are:");
            Fault::all().iter().for_each(|fault| eprintln!("  {fault}"));
            return ExitCode::from(2);
        }
        only => only,
    };
    let mut dice = Dice::new(seed);
    let outages = Outages::prepare().await;
    let began = Instant::now();
    let mut figures = Figures::default();
    eprintln!("chaos: {} rounds, --seed {seed}", arguments.rounds);
    for number in 1..=arguments.rounds {
        if began.elapsed() > Duration::from_secs(60 * arguments.minutes) {
            break;
        }
        let mix = match (&only, number % 2) {
            (Some(faults), _) => Mix::Alone(faults.repeat(3)),
            (None, 1) => Mix::Alone(shuffled(Fault::all(), &mut dice)),
            (None, _) => Mix::Mixture(arguments.faults),
        };
        let before = began.elapsed().as_secs();
        let mut count = 0;
        let verdict = round(&mix, &outages, &mut dice, &mut figures, |what| {
            count += 1;
            let seconds = began.elapsed().as_secs();
            progress(&format!(
                "round {number}  {seconds:>5} s  {count:>3}  {what}"
            ));
        })
        .await;
        progress("");
        let took = began.elapsed().as_secs() - before;
        eprintln!("round {number} ({took} s): {verdict}");
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("\nchaos: seed {seed}, {minutes:.1} minutes\n\n{figures}");
    if figures.total.violations.is_empty() {
        println!("  Nothing lost, nothing archived or counted twice, nothing invented.");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// Those that have `part` in their name.
fn named(part: &str) -> Vec<Fault> {
    let all = Fault::all().into_iter();
    all.filter(|fault| fault.to_string().contains(part))
        .collect()
}

/// One line that is written over, where there is somebody to look at it.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{line}");
        _ = std::io::stderr().flush();
    }
}

fn shuffled(mut faults: Vec<Fault>, dice: &mut Dice) -> Vec<Fault> {
    for i in (1..faults.len()).rev() {
        faults.swap(i, dice.below(i as u64 + 1) as usize);
    }
    faults
}
