//! What a producer takes to be there: time, memory and size.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use benches::{
    page::Page,
    turns::{Side as Row, Turns, in_turns},
};
use e2e::{DEADLINE, Kind, Pipeline, wasm_module};
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};

use crate::{
    Chapter, Study,
    latency::mebibytes,
    side::{SIDES, Side},
};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "process",
    title: "Routes: start, memory and size",
    is_load: true,
    write: |study, page| Box::pin(write(study, page)),
};

/// How often a process that starts is asked whether it is ready.
const ASK: Duration = Duration::from_millis(1);

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let mut pipelines = Vec::new();
    for (_, side) in SIDES {
        pipelines.push(side.pipeline().start().await);
    }
    let lines: Vec<_> = SIDES.iter().map(|(name, _)| *name).zip(0_usize..).collect();
    let rounds = study.effort.rounds;
    let started = in_turns(rounds, &lines, &[1], async |side: usize, _| {
        started(&mut pipelines[side]).await
    });
    let columns = ["ms from exec to ready", "MiB then"];
    page.table("Start", ["route", ""], columns, &started.await?);
    let sides = SIDES.map(|(line, side)| sizes(line, side));
    let sizes = Turns {
        sides: sides.into_iter().collect::<anyhow::Result<_>>()?,
    };
    page.table(
        "Size",
        ["route", ""],
        [
            "MB of the program",
            "stripped, as in the image",
            "MB of the module",
        ],
        &sizes,
    );
    page.paragraph(
        "The kafka-producer is one program with both clients in it. Of the images, `make images` prints the sizes.",
    );
    Ok(())
}

/// The producer of `pipeline`, ended and started again.
async fn started(pipeline: &mut Pipeline) -> anyhow::Result<[f64; 2]> {
    let producer = &mut pipeline.producer;
    producer.shut_down().await;
    let began = Instant::now();
    producer.start();
    while !producer.is_ready().await {
        ensure!(
            began.elapsed() < DEADLINE,
            "{} is not ready",
            producer.name()
        );
        sleep(ASK).await;
    }
    let ms = began.elapsed().as_secs_f64() * 1e3;
    Ok([ms, mebibytes(producer.memory())])
}

fn sizes(line: &'static str, side: Side) -> anyhow::Result<Row<3>> {
    let path = Kind::that_produces(side.via()).path();
    let program = megabytes(&path)?;
    let stripped = NamedTempFile::new()?;
    let mut strip = Command::new("strip");
    let strip = strip.arg("-o").arg(stripped.path()).arg(&path);
    let status = strip.status().context("strip, of binutils")?;
    ensure!(status.success(), "strip {}: {status}", path.display());
    let stripped = megabytes(stripped.path())?;
    let module = match side {
        Side::Wasm => megabytes(&wasm_module())?,
        Side::Librdkafka | Side::Engine => 0.0,
    };
    Ok(Row {
        line,
        over: 1,
        values: [vec![program], vec![stripped], vec![module]],
    })
}

fn megabytes(file: &Path) -> anyhow::Result<f64> {
    let bytes = fs::metadata(file).with_context(|| file.display().to_string())?;
    Ok(bytes.len() as f64 / 1e6)
}
