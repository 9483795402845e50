//! Groups of five and deliveries, whatever is killed.

use std::collections::BTreeMap;

use guild::stock::{
    groups::{Sale, State},
    tables::{Stock, TABLES},
};
use tokio::sync::watch;

use crate::world::{Sent, World, cut, write};

/// Sale number `n`; every seventh names no cart.
fn sale(n: u64) -> Sent {
    let plate = ["A", "B", "C", "D", "E", "F"].get(n as usize % 7);
    let plate = plate
        .map(|plate| format!(", \"patente\": \"{plate}\""))
        .unwrap_or_default();
    let stock = n * 13 % 45;
    Sent {
        id: n,
        stream: "ventas",
        at_ms: 1_800_000_000_000 + n as i64,
        json: format!(
            "{{\"cliente\": \"Ana\", \"cantidad\": 1, \"hora\": \"12:00\", \"stock\": {stock}, \"ubicacion\": [-33.4, -70.6]{plate}}}"
        ),
    }
}

impl World {
    fn stock(&self, is_auto: bool) -> Stock {
        Stock::of(&self.config, is_auto, watch::Sender::new(())).unwrap()
    }

    /// Each sale in one place, groups of five without a gap, and the deliveries that they ask for.
    async fn is_right(&self, sales: i64, is_auto: bool) {
        let rows = self
            .rows("SELECT group_number, place, plate, stock, arrival_ms FROM guild.stock_sales ORDER BY group_number, place")
            .await;
        assert_eq!(rows.len() as i64, sales);
        let distinct = "SELECT count(DISTINCT id) FROM guild.stock_sales";
        assert_eq!(self.count(distinct).await, sales);
        let mut state = State::default();
        let mut deliveries = Vec::new();
        for row in &rows {
            let number = |i: usize| row[i].as_ref().unwrap().parse::<i64>().unwrap();
            let sale = Sale {
                plate: row[2].clone(),
                stock: number(3),
                at_ms: number(4),
            };
            let step = state.take(&sale, is_auto);
            assert_eq!((step.group, i64::from(step.place)), (number(0), number(1)));
            deliveries.extend(step.deliveries);
        }
        let found = self
            .rows("SELECT id, plate, stock, amount, prepared_ms, delivered FROM guild.deliveries ORDER BY id")
            .await;
        let expected = deliveries.iter().map(|d| {
            let figures = [d.stock, d.amount, d.prepared_at_ms].map(|n| Some(n.to_string()));
            let [stock, amount, prepared] = figures;
            let delivered = Some(if is_auto { "t" } else { "f" }.to_owned());
            vec![
                Some(d.id.to_string()),
                Some(d.plate.clone()),
                stock,
                amount,
                prepared,
                delivered,
            ]
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
        let carts = self
            .rows("SELECT plate, stock FROM guild.stock_carts")
            .await;
        let carts: BTreeMap<_, _> = carts
            .into_iter()
            .map(|row| (row[0].clone(), row[1].clone()))
            .collect();
        let expected = state.carts.iter();
        let expected = expected.map(|(p, cart)| (Some(p.clone()), Some(cart.stock.to_string())));
        assert_eq!(carts, expected.collect());
        let complete = self.count("SELECT count(*) FROM guild.stock_groups").await;
        assert_eq!(complete, sales / 5);
    }
}

#[tokio::test]
async fn a_group_that_was_begun_survives_and_a_repeated_sale_counts_once() {
    for is_auto in [false, true] {
        let world = World::new(&TABLES).await;
        let mut offset = 0;
        for (from, to) in [(0, 3), (2, 4), (0, 9), (9, 10), (5, 33)] {
            let events: Vec<_> = (from..to).map(sale).collect();
            // Each time by a process that knows nothing.
            let sink = world.sink(world.stock(is_auto));
            write(&sink, world.batch(0, offset, &events)).await;
            offset += events.len() as i64;
            world
                .is_right(
                    world.count("SELECT count(*) FROM guild.stock_sales").await,
                    is_auto,
                )
                .await;
        }
        assert_eq!(
            world.count("SELECT count(*) FROM guild.stock_sales").await,
            33
        );
    }
}

#[tokio::test]
async fn whoever_is_killed_at_whichever_step_every_sale_is_in_one_group() {
    let world = World::new(&TABLES).await;
    let (mut next, mut finished_by_itself) = (0, false);
    for polls in 1.. {
        let events: Vec<_> = (next..next + 7).map(sale).collect();
        let batch = || world.batch(0, next as i64, &events);
        let sink = world.sink(world.stock(false));
        let outcome = cut(consumer::sink::Sink::write(&sink, batch()), polls).await;
        finished_by_itself = outcome.is_some();
        // Whoever comes next reads the batch again.
        let sink = world.sink(world.stock(false));
        write(&sink, batch()).await;
        next += 7;
        if finished_by_itself || polls > 1000 {
            break;
        }
    }
    assert!(finished_by_itself, "a batch needs no thousand steps");
    world.is_right(next as i64, false).await;
}

#[tokio::test]
async fn partitions_side_by_side_make_groups_without_a_gap() {
    let world = World::new(&TABLES).await;
    let sinks = [world.sink(world.stock(true)), world.sink(world.stock(true))];
    let write_all = async |partition: i32| {
        let sink = &sinks[partition as usize];
        for part in 0..20 {
            let numbers = (0..6).map(|i| part * 12 + i * 2 + partition as u64);
            let events: Vec<_> = numbers.map(sale).collect();
            write(sink, world.batch(partition, part as i64 * 6, &events)).await;
        }
    };
    tokio::join!(write_all(0), write_all(1));
    world.is_right(240, true).await;
}

#[tokio::test]
async fn what_postgresql_refuses_is_a_dead_letter_and_the_others_are_in_groups() {
    let world = World::new(&TABLES).await;
    let mut events: Vec<_> = (0..12).map(sale).collect();
    // A plate with a NUL, which PostgreSQL has not.
    events[4].json = events[4]
        .json
        .replace("\"patente\": \"E\"", "\"patente\": \"E\\u0000\"");
    assert!(events[4].json.contains("u0000"));
    let sink = world.sink(world.stock(false));
    write(&sink, world.batch(0, 0, &events)).await;
    world.is_right(11, false).await;
    let letters = world
        .rows("SELECT reason, \"offset\" FROM aguacero.dead_letters")
        .await;
    assert_eq!(
        letters,
        [[Some("refused".to_owned()), Some("4".to_owned())]]
    );
}
