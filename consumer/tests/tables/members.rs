//! Several members of a group, which come and go, and are killed.

use std::time::Duration;

use aguacero::id::EventId;

use crate::{
    tables::{OWNER, Tables, sales},
    world::{Process, eventually},
};

async fn more_than(tables: &Tables, rows: i64) {
    eventually("more rows", async || match tables.count("ventas").await {
        now if now > rows => Ok(()),
        now => Err(format!("{now}")),
    })
    .await;
}

/// The same events in every partition, so that members meet at each of them.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_write_each_event_once() {
    let mut tables = Tables::new(4).await;
    tables.config.consumer.batch_records_max = 40;
    tables.config.consumer.session_timeout = Duration::from_secs(6); // after which a member that went is replaced
    let (mut sent, mut last) = (Vec::<(EventId, String)>::new(), [0; 4]);
    let mut running = vec![tables.start_as("zero").await];
    for round in 1..=6 {
        let events = sales(400);
        for partition in 0..4 {
            let shift = 100 * partition as usize;
            let turned = [&events[shift..], &events[..shift]].concat();
            last[partition as usize] = tables.send(partition, &turned);
        }
        let before = sent.len() as i64;
        sent.extend(events);
        more_than(&tables, before).await;
        running.push(tables.start_as(&format!("m{round}")).await);
        if round % 2 == 0 {
            running.remove(0).stop().await;
        }
    }
    for (partition, last) in (0..).zip(last) {
        tables.is_finished(partition, last).await;
    }
    assert_eq!(tables.count("ventas").await, sent.len() as i64);
    assert_eq!(tables.count("aguacero.events").await, sent.len() as i64);
    assert_eq!(tables.dead_letters().await, []);
    for member in running {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_killed_leave_nothing_out_and_nothing_twice() {
    let process = "batch_records_max = 50\nsession_timeout_ms = 6000";
    let tables = Tables::bare(2, process, crate::tables::VENTAS).await;
    tables.apply().await;
    let start = || {
        let (mut command, file) = tables.command(&["run"], OWNER);
        command.env("AGUACERO_TABLES_INSTANCE", "one");
        Process::start((command, file))
    };
    let mut sent = 0;
    for _ in 0..6 {
        let process = start();
        let before = tables.count("ventas").await;
        for partition in 0..2 {
            let sales = sales(1000);
            tables.send(partition, &sales);
            tables.send(1 - partition, &sales[..300]);
            sent += 1000;
        }
        more_than(&tables, before).await;
        drop(process); // SIGKILL
    }
    let _process = start();
    tables.has_rows("ventas", sent).await;
    assert_eq!(tables.count("aguacero.events").await, sent);
    assert_eq!(tables.dead_letters().await, []);
}
