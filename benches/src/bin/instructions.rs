//! What a stage costs, counted rather than timed. `scripts/instructions` runs it.
//!
//! Without arguments: a line for each stage, its events and its allocations for an event in steady state.
//! With a stage and a number: runs the stage so many times in [`counted`], the only function that callgrind
//! looks at. What comes before it differs from run to run, with the seeds of hash tables.

use anyhow::Context as _;
use benches::stages::Stage;

/// Runs before anything is counted: buffers have grown by then.
const WARM_UP: u64 = 50;
/// Runs whose allocations are counted.
const COUNTED: u64 = 100;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut stages = benches::stages::all()?;
    let Some(name) = arguments.next() else {
        for stage in &mut stages {
            (0..WARM_UP).for_each(|_| (stage.run)());
            let allocations = allocation_counter::measure(|| counted(stage, COUNTED));
            let events = (stage.events * COUNTED) as f64;
            let allocations = allocations.count_total as f64 / events;
            println!("{}\t{}\t{allocations:.2}", stage.name, stage.events);
        }
        return Ok(());
    };
    let times: u64 = arguments.next().context("how often?")?.parse()?;
    let stage = stages.iter_mut().find(|stage| stage.name == name);
    let stage = stage.with_context(|| format!("no stage {name}"))?;
    (0..WARM_UP).for_each(|_| (stage.run)());
    counted(stage, times);
    Ok(())
}

/// By its name, callgrind finds it.
#[inline(never)]
fn counted(stage: &mut Stage, times: u64) {
    (0..times).for_each(|_| (stage.run)());
}
