//! One hostile body after the other: what it is told, how long that takes, and what it costs the gateway.

use std::{net::SocketAddr, time::Instant};

use e2e::{
    Client,
    bodies::{Attack, attacks},
};
use futures_util::future::join_all;

use crate::memory::Memory;

/// Sends each of the bodies that are wanted, so many at once; whether each is told what it deserves.
pub(crate) async fn run(
    address: SocketAddr,
    memory: &Memory,
    at_once: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> bool {
    println!(
        "{:34}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "MiB", "MiB", "MiB", "answer", "answer", ""
    );
    println!(
        "{:34}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "body", "sent", "before", "peak", "KiB", "ms", "status"
    );
    let mut is_good = true;
    for attack in attacks().iter().filter(|attack| is_wanted(attack.name)) {
        let before = memory.begin();
        let answers = join_all((0..at_once).map(|_| told(address, attack))).await;
        let peak = memory.peak();
        let mib = |bytes: Option<u64>| {
            bytes.map_or("–".into(), |b| format!("{:.1}", b as f64 / 1048576.0))
        };
        let slowest = answers.iter().map(|(_, _, ms)| *ms).fold(0.0, f64::max);
        let (status, kib, _) = &answers[0];
        let is_as_expected = answers
            .iter()
            .all(|(status, ..)| *status == Some(attack.status));
        is_good &= is_as_expected;
        println!(
            "{:34}{:>9.2}{:>9}{:>9}{:>9.1}{:>9.1}{:>9}{}",
            attack.name,
            attack.bytes as f64 / 1048576.0,
            mib(before),
            mib(peak.max(before)),
            kib,
            slowest,
            status.map_or("none".into(), |status| status.to_string()),
            if is_as_expected {
                String::new()
            } else {
                format!("  instead of {}", attack.status)
            },
        );
    }
    is_good
}

/// Status and KiB of the answer, and ms until all of it was there.
async fn told(address: SocketAddr, attack: &Attack) -> (Option<u16>, f64, f64) {
    let began = Instant::now();
    let answer = Client::new(address).send(&attack.request).await.ok();
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let kib = answer
        .as_ref()
        .map_or(0.0, |answer| answer.body.len() as f64 / 1024.0);
    (answer.map(|answer| answer.status), kib, ms)
}
