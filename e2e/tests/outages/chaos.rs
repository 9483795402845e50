//! The short form of `make chaos`.

use std::io::Write as _;

use e2e::{
    chaos::{Fault, Figures, Mix, round},
    outage::Outages,
    seed::Dice,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_alone_and_some_together_lose_nothing_and_count_nothing_twice() {
    let outages = Outages::prepare().await;
    let mut dice = Dice::for_test("chaos");
    let mut figures = Figures::default();
    for mix in [Mix::Alone(Fault::short()), Mix::Mixture(12, Vec::new())] {
        let verdict = round(&mix, &outages, &mut dice, &mut figures, |_| {}).await;
        assert!(verdict.violations.is_empty(), "{verdict}");
    }
    _ = write!(std::io::stderr(), "chaos\n{figures}"); // past the capture of the test's own output
}
