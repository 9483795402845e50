//! A client that does not read, and what it costs the others.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chat::{
    client::{folder::Folder, session::Session},
    message::{ClientId, Registered},
    transport::Over,
};
use figures::{page::Page, stats::Times, turns::in_turns};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Args,
    crew::{Crew, PATIENCE},
    side::{SIDES, Side, memory},
};

const MESSAGES: usize = 50_000;
const TEXT_BYTES: usize = 1000;

pub(crate) async fn measure(args: &Args) -> anyhow::Result<()> {
    let turns = in_turns(args.rounds, &SIDES, &[0], async |over, _| {
        let values = turn(over, Duration::from_secs_f64(args.seconds)).await?;
        eprintln!("{over:?}, a slow reader: {values:.1?}");
        Ok(values)
    })
    .await?;
    let mut page = Page::new(
        &args.out,
        "slow",
        "The two chats: a client that does not read",
    )?;
    page.paragraph(&format!(
        "A client's process is stopped (SIGSTOP), gets {MESSAGES} messages of {TEXT_BYTES} bytes, and goes on. Two others meanwhile send each \
         other 200 messages a second. Memory is what the kernel says that the process has of it (VmRSS)."
    ));
    page.table(
        "Memory, MiB",
        ["side", ""],
        [
            "server before",
            "server after",
            "broker before",
            "broker after",
        ],
        &turns.part::<4>(0),
    );
    page.table(
        "Times",
        ["side", ""],
        [
            "the others' p50, µs",
            "the others' p99, µs",
            "s until it has caught up",
        ],
        &turns.part::<3>(4),
    );
    println!("{}", page.finish()?.display());
    Ok(())
}

async fn turn(over: Over, duration: Duration) -> anyhow::Result<[f64; 7]> {
    let side = Side::start(over)?;
    let crew = Crew::start(&side, 2).await?;
    crew.paced(200.0, duration / 3).await?;
    let mut slow = side
        .client("slow")?
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = Pid::from_raw(i32::try_from(slow.id())?).context("a pid")?;
    let folder = Folder::open(&side.folder_of("ana"), "ana")?;
    let (sender, mut told) = Session::start(side.transport()?, folder, PATIENCE).await?;
    tokio::spawn(async move { while told.recv().await.is_some() {} });
    let to = id_of(&side, sender.registered(), "slow").await?;
    kill_process(pid, Signal::STOP)?;
    let memories = || -> anyhow::Result<[f64; 2]> {
        let pids = side.pids()?;
        Ok([
            memory(pids[0])?,
            pids.get(1).map_or(Ok(0.0), |pid| memory(*pid))?,
        ])
    };
    let before = memories()?;
    let flood = async {
        for n in 0..MESSAGES {
            sender.send(to, format!("{n:<TEXT_BYTES$}")).await?;
        }
        sender
            .all_written(PATIENCE)
            .await
            .ok()
            .context("messages without a receipt")
    };
    let (times, flooded) = tokio::join!(crew.paced(200.0, duration), flood);
    flooded?;
    let (times, after) = (Times::new(times?), memories()?);
    let begin = Instant::now();
    kill_process(pid, Signal::CONT)?;
    let received = side.folder_of("slow").join("received.txt");
    while lines(&received) < MESSAGES {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "it does not catch up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let caught_up = begin.elapsed().as_secs_f64();
    slow.kill()?;
    slow.wait()?;
    Ok([
        before[0],
        after[0],
        before[1],
        after[1],
        times.quantile_us(0.5),
        times.quantile_us(0.99),
        caught_up,
    ])
}

async fn id_of(side: &Side, who: Registered, name: &str) -> anyhow::Result<ClientId> {
    let transport = side.transport()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let clients = transport.clients(who.log, ClientId(0)).await?;
        if let Some(client) = clients.into_iter().find(|client| client.name == name) {
            return Ok(client.id);
        }
        anyhow::ensure!(Instant::now() < deadline, "{name} does not register");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn lines(file: &std::path::Path) -> usize {
    std::fs::read(file).map_or(0, |bytes| {
        bytes.iter().filter(|byte| **byte == b'\n').count()
    })
}
