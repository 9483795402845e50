//! Times, rates and processor time, by how many clients there are.

use std::time::Duration;

use figures::{cpu, page::Page, plot::Axes, stats::Times, turns::in_turns};

use crate::{
    Args,
    crew::Crew,
    side::{SIDES, Side},
};
use chat::transport::Over;

/// Messages a second of all clients together, of what is called quiet.
const QUIET: f64 = 200.0;
/// On their way, of what is called loaded.
const ON_THEIR_WAY: usize = 1000;

pub(crate) async fn measure(args: &Args) -> anyhow::Result<()> {
    let turns = in_turns(args.rounds, &SIDES, &args.clients, async |over, clients| {
        let values = turn(over, clients, Duration::from_secs_f64(args.seconds)).await?;
        eprintln!("{over:?}, {clients} clients: {values:.1?}");
        Ok(values)
    })
    .await?;
    let mut page = Page::new(
        &args.out,
        "speed",
        "The two chats: times, rates, processor time",
    )?;
    page.paragraph(&format!(
        "Each client sends texts of 100 bytes to the next one, {} turns of {} s. Quiet: {QUIET} messages a second of all clients \
         together, each sent whether the one before has come or not. Loaded: {ON_THEIR_WAY} messages on their way, and another one \
         for each that comes. A time is from `send` of the sender to the line in the addressee's `received.txt`, so it has the wait \
         for the server's disk in it. All clients are one process, which with server and broker shares the machine.",
        args.rounds, args.seconds
    ));
    page.table(
        "Quiet",
        ["side", "clients"],
        ["p50, µs", "p99, µs"],
        &turns.part::<2>(0),
    );
    page.table(
        "Loaded",
        ["side", "clients"],
        ["messages/s", "p50, ms", "p99, ms"],
        &turns.part::<3>(2),
    );
    page.table(
        "Processor seconds for a million messages",
        ["side", "clients"],
        ["server", "broker", "clients", "all"],
        &turns.part::<4>(5),
    );
    page.plot(
        Axes::Factors,
        ["p50 of the chats", "clients", "µs"],
        &turns,
        0,
    )?;
    page.plot(
        Axes::Factors,
        ["p99 of the chats", "clients", "µs"],
        &turns,
        1,
    )?;
    page.plot(
        Axes::Levels,
        ["rate of the chats", "clients", "messages/s"],
        &turns,
        2,
    )?;
    page.plot(
        Axes::Levels,
        [
            "processor time of the chats",
            "clients",
            "s for a million messages",
        ],
        &turns,
        8,
    )?;
    println!("{}", page.finish()?.display());
    Ok(())
}

async fn turn(over: Over, clients: u64, duration: Duration) -> anyhow::Result<[f64; 9]> {
    let side = Side::start(over)?;
    let crew = Crew::start(&side, clients).await?;
    crew.paced(QUIET, duration / 3).await?;
    let quiet = Times::new(crew.paced(QUIET, duration).await?);
    let mut pids = side.pids()?;
    pids.push(std::process::id());
    let mut spent = Vec::new();
    let (arrived, took, times) = crew
        .loaded(ON_THEIR_WAY, duration / 3, duration, || {
            let times = pids.iter().map(|pid| cpu::of(*pid));
            spent.push(times.collect::<anyhow::Result<Vec<_>>>()?);
            Ok(())
        })
        .await?;
    let loaded = Times::new(times);
    let millions = arrived as f64 / 1e6;
    let cpu: Vec<_> = spent[0]
        .iter()
        .zip(&spent[1])
        .map(|(before, after)| after.since(*before).all().as_secs_f64() / millions)
        .collect();
    let [server, broker, own] = match cpu[..] {
        [server, broker, own] => [server, broker, own],
        [server, own] => [server, 0.0, own],
        _ => anyhow::bail!("a server, perhaps a broker, and the clients"),
    };
    Ok([
        quiet.quantile_us(0.5),
        quiet.quantile_us(0.99),
        arrived as f64 / took.as_secs_f64(),
        loaded.quantile_us(0.5) / 1e3,
        loaded.quantile_us(0.99) / 1e3,
        server,
        broker,
        own,
        server + broker + own,
    ])
}
