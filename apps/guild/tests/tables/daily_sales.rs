//! Days that are closed once, with each sale in one report.

use guild::daily_sales::{
    calendar::Calendar,
    close,
    history::{History, TABLES},
};
use jiff::civil::{Date, Time};
use processor::connection;

use crate::world::{Sent, World, cut, write};

const DAY: Date = Date::constant(2026, 11, 21);

fn calendar() -> Calendar {
    Calendar::santiago(Time::constant(23, 59, 0, 0)).unwrap()
}

fn next_day() -> Date {
    DAY.tomorrow().unwrap()
}

fn event(id: u64, stream: &'static str, at_ms: i64, json: &str) -> Sent {
    Sent {
        id,
        stream,
        at_ms,
        json: json.to_owned(),
    }
}

fn member(id: u64, at_ms: i64, rut: &str, name: &str, plate: &str) -> Sent {
    let json = format!(
        "{{\"nombre\": \"{name}\", \"apellido\": \"Soto\", \"rut\": \"{rut}\", \"patente\": \"{plate}\"}}"
    );
    event(id, "miembros", at_ms, &json)
}

fn sale(id: u64, at_ms: i64, customer: &str, sold: i64, plate: Option<&str>, lat: f64) -> Sent {
    let plate = plate
        .map(|plate| format!(", \"patente\": \"{plate}\""))
        .unwrap_or_default();
    let json = format!(
        "{{\"cliente\": \"{customer}\", \"cantidad\": {sold}, \"hora\": 1200, \"stock\": 50, \"ubicacion\": \"{lat},-70.66\"{plate}}}"
    );
    event(id, "ventas", at_ms, &json)
}

fn position(id: u64, at_ms: i64, plate: &str, lat: f64) -> Sent {
    let json =
        format!("{{\"patente\": \"{plate}\", \"ubicacion\": {{\"lat\": {lat}, \"lon\": -70.66}}}}");
    event(id, "ubicaciones", at_ms, &json)
}

impl World {
    fn history(&self) -> History {
        History::of(&self.config).unwrap()
    }

    async fn read(&self, partition: i32, offset: i64, events: &[Sent]) {
        let sink = self.sink(self.history());
        write(&sink, self.batch(partition, offset, events)).await;
    }

    async fn close(&self, day: Date) {
        let mut client = connection(&self.pool).await.unwrap();
        let transaction = client.transaction().await.unwrap();
        close::close(&transaction, &calendar(), day).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn report(&self, day: Date) -> String {
        let client = connection(&self.pool).await.unwrap();
        close::stored(&client, day)
            .await
            .unwrap()
            .expect("it is stored")
    }

    async fn preview(&self, day: Date) -> String {
        let mut client = connection(&self.pool).await.unwrap();
        let transaction = client.transaction().await.unwrap();
        close::preview(&transaction, &calendar(), day)
            .await
            .unwrap()
    }
}

/// The lines of a report that have `words`, without what aligns them.
fn lines(report: &str, words: &str) -> Vec<String> {
    let found = report.lines().filter(|line| line.contains(words));
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    found.map(squeezed).collect()
}

#[tokio::test]
async fn a_day_has_what_arrived_in_its_window_in_whatever_order_it_was_read() {
    let world = World::new(&TABLES).await;
    let (opening, closing) = (calendar().opening(DAY), calendar().closing(DAY));
    // The sales before the carts, and these before the members.
    let sales = [
        sale(1, opening, "Juan", 3, Some("AA"), -33.0),
        sale(2, opening - 1, "Juan", 100, Some("AA"), -33.0),
        sale(3, closing - 1, "Inés", 4, Some("AA"), -33.0),
        sale(4, closing, "Inés", 200, Some("AA"), -33.0),
        sale(5, opening + 60_000, "Luz", 5, None, -33.45),
        sale(6, opening + 60_000, "Luz", 7, None, -33.6),
        sale(7, opening + 10, "Luz", 9, Some("ZZ"), -33.0),
        sale(1, opening, "Juan", 3, Some("AA"), -33.0), // again
    ];
    world.read(0, 0, &sales).await;
    let positions = [
        position(21, opening, "BB", -33.450_1),
        position(22, opening - 1, "CC", -33.45), // 60 s and 1 ms before
        position(23, opening + 30_000, "BB", -33.450_2),
        position(24, opening + 60_001, "CC", -33.45), // behind
        position(25, opening + 50_000, "DD", -33.450_8),
    ];
    world.read(0, 0, &positions).await;
    let members = [
        member(31, opening + 5, "1-9", "Ana", "AA"),
        member(32, opening - 5, "2-K", "Eva", "BB"),
        member(33, opening - 9, "1-9", "Anita", "XX"), // she has changed cart and name
        member(34, closing, "3-5", "Zoe", "ZZ"),       // tomorrow
    ];
    world.read(0, 0, &members).await;
    let before = world.preview(DAY).await;
    // What arrived the day before is in the report of that day.
    world.close(DAY.yesterday().unwrap()).await;
    world.close(DAY).await;
    let report = world.report(DAY).await;
    assert_eq!(lines(&report, "1-9"), ["1-9 Ana Soto 7 2 2 3.50"]);
    assert_eq!(lines(&report, "2-K"), ["2-K Eva Soto 5 1 1 5.00"]);
    assert_eq!(lines(&report, "3-5"), [""; 0]);
    assert_eq!(lines(&report, "ZZ"), ["ZZ: 1 (9 sopaipillas)"]);
    assert_eq!(
        lines(&report, "Luz"),
        ["2026-11-21 00:00:00, -33.60000,-70.66000, Luz: 7 sopaipillas"]
    );
    assert_eq!(
        lines(&report, "Total"),
        ["Total todas las ventas 28 5 3 9.33"]
    );
    // The preview took the sale of the day before for a late one, as the report would have.
    assert_eq!(lines(&before, "1-9"), ["1-9 Ana Soto 107 3 2 53.50"]);
    let days = "SELECT day, count(*) FROM guild.sales GROUP BY day ORDER BY day NULLS LAST";
    let days: Vec<_> = world
        .rows(days)
        .await
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let expected = [
        (Some("2026-11-20"), "1"),
        (Some("2026-11-21"), "5"),
        (None, "1"),
    ];
    let expected = expected.map(|(day, n)| (day.map(str::to_owned), Some(n.to_owned())));
    assert_eq!(days, expected);
}

#[tokio::test]
async fn a_sale_that_comes_too_late_is_in_the_next_report_and_the_first_keeps_its_bytes() {
    let world = World::new(&TABLES).await;
    let opening = calendar().opening(DAY);
    world
        .read(0, 0, &[member(1, opening, "1-9", "Ana", "AA")])
        .await;
    world
        .read(0, 0, &[sale(2, opening, "Juan", 3, Some("AA"), -33.0)])
        .await;
    world.close(DAY).await;
    let first = world.report(DAY).await;
    world
        .read(0, 1, &[sale(3, opening + 1, "Juan", 4, Some("AA"), -33.0)])
        .await;
    world.close(DAY).await;
    assert_eq!(world.report(DAY).await, first);
    world.close(next_day()).await;
    let next = world.report(next_day()).await;
    assert_eq!(lines(&next, "1-9"), ["1-9 Ana Soto 4 1 1 4.00"]);
    assert_eq!(
        lines(&next, "después de su informe"),
        ["Ventas de días anteriores que llegaron después de su informe: 1"]
    );
    // A day on which nothing was sold has a report too.
    let third = next_day().tomorrow().unwrap();
    world.close(third).await;
    assert_eq!(
        lines(&world.report(third).await, "1-9"),
        ["1-9 Ana Soto 0 0 0 0.00"]
    );
}

#[tokio::test]
async fn whoever_is_killed_while_a_day_is_closed_it_is_closed_once() {
    let world = World::new(&TABLES).await;
    let opening = calendar().opening(DAY);
    let sales: Vec<_> = (0..50)
        .map(|n| sale(n, opening + n as i64, "Juan", 1, None, -33.45))
        .collect();
    world.read(0, 0, &sales).await;
    world
        .read(0, 0, &[position(60, opening, "AA", -33.45)])
        .await;
    let mut polls = 1;
    while cut(world.close(DAY), polls).await.is_none() {
        polls += 1;
        assert!(polls < 2000, "closing a day needs no thousand steps");
    }
    tokio::join!(world.close(DAY), world.close(next_day()), world.close(DAY));
    let report = world.report(DAY).await;
    assert_eq!(lines(&report, "AA"), ["AA: 50 (50 sopaipillas)"]);
    assert_eq!(lines(&world.report(next_day()).await, "AA"), [""; 0]);
    assert_eq!(
        world
            .count("SELECT count(*) FROM guild.daily_reports")
            .await,
        2
    );
    let kept = "SELECT count(*) FROM guild.positions";
    assert_eq!(world.count(kept).await, 1);
    let third = next_day().tomorrow().unwrap();
    world.close(third).await;
    assert_eq!(
        world.count(kept).await,
        0,
        "two days after the report of its day"
    );
}
