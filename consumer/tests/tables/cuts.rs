//! A connection that ends in any step of a transaction.

use aguacero::id::EventId;

use crate::{
    outages::proxied,
    tables::{Tables, sales},
};

/// More requests than a transaction has.
const STEPS_MAX: usize = 120;

/// Before a request arrives, and after it is done but before its answer comes: of the last one, the transaction is
/// committed and the process does not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_any_step_of_a_transaction_costs_and_doubles_nothing() {
    let mut tables = Tables::new(1).await;
    tables.config.consumer.writers = 1;
    let postgres = proxied(&mut tables).await;
    let running = tables.start().await;
    let (mut sent, mut dead) = (0, 0);
    for arrives in [false, true] {
        let mut steps = 0;
        loop {
            // What is prepared is told once a connection: from here on there is a new one.
            tables.end_sessions().await;
            postgres.cut_after(steps, b"START TRANSACTION", arrives);
            let mut events = sales(50);
            let refused = r#"{"cantidad":1}"#.to_owned();
            events.push((EventId::new_base().plus(99), refused));
            events.extend_from_within(..20);
            let last = tables.send(0, &events);
            (sent, dead) = (sent + 50, dead + 1);
            tables.is_finished(0, last).await;
            tables.world.has_committed(0, last + 1).await;
            let step = format!("step {steps}, {arrives}");
            assert_eq!(tables.count("ventas").await, sent, "{step}");
            assert_eq!(tables.count("aguacero.events").await, sent, "{step}");
            assert_eq!(tables.dead_letters().await.len(), dead, "{step}");
            if postgres.answers_to_lose() > 0 {
                break; // it was done before so many requests
            }
            steps += 1;
            assert!(steps < STEPS_MAX, "a transaction has an end");
        }
        assert!(
            steps > 10,
            "only {steps} requests, from START TRANSACTION to COMMIT"
        );
    }
    running.stop().await;
}
