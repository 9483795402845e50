//! `cargo bench -p benches`: the stages of the hot path, by criterion.

use std::time::Duration;

use criterion::{Criterion, Throughput};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("stages");
    for mut stage in benches::stages::all().expect("the stages") {
        group.throughput(Throughput::Elements(stage.events));
        group.bench_function(stage.name, |bencher| bencher.iter(&mut stage.run));
    }
    group.finish();
    criterion.final_summary();
}
