//! What a stage costs, counted rather than timed. `scripts/instructions` runs it.
//!
//! Without arguments: a line for each stage, its events and its allocations for an event in steady state.
//! With a stage and a number: runs the stage so many times and nothing else, for callgrind to count.

use anyhow::Context as _;

/// Runs before allocations are counted: buffers have grown by then.
const WARM_UP: u32 = 50;
/// Runs that are counted.
const COUNTED: u32 = 100;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut stages = benches::stages::all()?;
    let Some(name) = arguments.next() else {
        for stage in &mut stages {
            (0..WARM_UP).for_each(|_| (stage.run)());
            let counted = allocation_counter::measure(|| (0..COUNTED).for_each(|_| (stage.run)()));
            let events = (stage.events * u64::from(COUNTED)) as f64;
            let allocations = counted.count_total as f64 / events;
            println!("{}\t{}\t{allocations:.2}", stage.name, stage.events);
        }
        return Ok(());
    };
    let times: u64 = arguments.next().context("how often?")?.parse()?;
    let stage = stages.iter_mut().find(|stage| stage.name == name);
    let run = &mut stage.with_context(|| format!("no stage {name}"))?.run;
    (0..times).for_each(|_| run());
    Ok(())
}
