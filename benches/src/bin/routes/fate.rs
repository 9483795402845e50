//! From the end of a producer to the next answer: the process is killed, or what it runs in the sandbox traps.

use std::{fs, path::Path, time::Instant};

use anyhow::Context as _;
use benches::{page::Page, sides::killed, turns::in_turns};
use e2e::{DEADLINE, Pipeline, Request, wasm_module};
use sha2::{Digest as _, Sha256};

use crate::{
    Chapter, Study,
    side::{PATH, Side},
    trapping::trapping,
};

pub(crate) const CHAPTER: Chapter = Chapter {
    name: "fate",
    title: "Routes: the producer ends",
    is_load: true,
    write: |study, page| Box::pin(write(study, page)),
};

/// The slab with this number traps, in each instance: there is time for a process to be killed before.
const TRAPS_AT: u32 = 50;
/// An end takes a fraction of a second, and no two take the same: so many for each round.
const ENDS_OF_A_ROUND: usize = 4;
const TRAPS: &str = "aguacero_wasm_stopped_total{reason=\"trap\"";

#[derive(Clone, Copy)]
enum End {
    /// The process of the side with this number.
    Killed(usize),
    Trap,
}

const ENDS: [(&str, End); 4] = [
    ("gRPC, librdkafka: killed", End::Killed(0)),
    ("gRPC, engine: killed", End::Killed(1)),
    ("WebAssembly: killed", End::Killed(WASM)),
    ("WebAssembly: a trap", End::Trap),
];
const WASM: usize = 2;

async fn write(study: &Study, page: &mut Page) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("trapping.wasm");
    put(&wasm_module(), &module)?;
    let sum = module.with_extension("sha256");
    let wasm = Side::Wasm
        .pipeline()
        .with("wasm_producer.module", module.display())
        .with("wasm_producer.sha256_file", sum.display());
    let mut pipelines = [
        Side::Librdkafka.pipeline().start().await,
        Side::Engine.pipeline().start().await,
        wasm.start().await,
    ];
    let request = Request::json(PATH, study.events.plain[0].clone());
    let rounds = study.effort.rounds * ENDS_OF_A_ROUND;
    let turns = in_turns(rounds, &ENDS, &[1], async |end, _| {
        let seconds = match end {
            End::Killed(side) => killed(&mut pipelines[side], &request).await?,
            End::Trap => trapped(&pipelines[WASM], &request).await?,
        };
        Ok([seconds * 1e3])
    });
    let turns = turns.await?;
    page.paragraph(&format!(
        "A killed process is started again at once. The module that traps is the built one, but for slab {TRAPS_AT} of each \
         instance, at which it does what WebAssembly forbids: the slab that was given is not known to be stored, the gateway \
         sends it again, and the next instance takes it."
    ));
    page.table("Until the next 200", ["what ends", ""], ["ms"], &turns);
    Ok(())
}

/// The module `built`, made to trap, in `file`, with its sum beside it.
fn put(built: &Path, file: &Path) -> anyhow::Result<()> {
    let built = fs::read(built).with_context(|| built.display().to_string())?;
    let module = trapping(&built, TRAPS_AT)?;
    let sum = Sha256::digest(&module);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(file, module)?;
    fs::write(file.with_extension("sha256"), format!("{sum}  module\n"))?;
    Ok(())
}

/// Seconds from the request that the module trapped at to the next answer 200. Requests are sent one after another, so that
/// each is a slab of its own.
async fn trapped(pipeline: &Pipeline, request: &Request) -> anyhow::Result<f64> {
    let mut client = pipeline.client();
    let traps = async || pipeline.producer.metric(TRAPS).await;
    let before = traps().await;
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        let sent = Instant::now();
        while client.answer(request).await.status != 200 {}
        let took = sent.elapsed();
        if traps().await > before {
            return Ok(took.as_secs_f64());
        }
    }
    anyhow::bail!("the module did not trap within {DEADLINE:?}")
}
