//! A day's report: the text that is kept, and the same as JSON for programs.

use std::fmt::Write as _;

use jiff::civil::Date;
use serde_json::{Value, json};

use super::{
    calendar::{Calendar, ZONE},
    reckoning::{Line, Reckoning, Sale, Sum},
};
use crate::text::{Align, shown, table};

/// Lines at the foot for what belongs to nobody; whatever is beyond them is counted, and is in the database.
const FOOT_LINES_MAX: usize = 1000;

/// The report of `day` as people read it. The same day gives the same bytes.
#[must_use]
pub fn text(calendar: &Calendar, day: Date, reckoning: &Reckoning) -> String {
    let mut text = head(calendar, day);
    text += &members(reckoning);
    text.push('\n');
    text += &carts_of_nobody(reckoning);
    text += &unmatched(calendar, reckoning);
    writeln_to(
        &mut text,
        &format!(
            "Ventas sin patente asignadas por su ubicación: {}",
            reckoning.matched
        ),
    );
    writeln_to(
        &mut text,
        &format!(
            "Ventas de días anteriores que llegaron después de su informe: {}",
            reckoning.late
        ),
    );
    text
}

/// The same for programs.
#[must_use]
pub fn data(day: Date, reckoning: &Reckoning) -> Value {
    let with = |sum: &Sum, mut value: Value| {
        value["sopaipillas"] = sum.sold.into();
        value["ventas"] = sum.sales.into();
        value["clientes"] = sum.customers.into();
        value
    };
    let member = |l: &Line| with(&l.sum, json!({ "rut": l.rut, "nombre": l.name }));
    let carts = reckoning.of_nobody.iter();
    let sold = |sales: &[Sale]| sales.iter().map(|s| s.sold).sum::<i64>();
    json!({
        "dia": day.to_string(),
        "socios": reckoning.lines.iter().map(member).collect::<Vec<_>>(),
        "sin_socio": carts.map(|(plate, sum)| with(sum, json!({ "patente": plate }))).collect::<Vec<_>>(),
        "sin_carrito": {
            "ventas": reckoning.unmatched.len(),
            "sopaipillas": sold(&reckoning.unmatched),
        },
        "total": with(&reckoning.total, json!({})),
        "por_ubicacion": reckoning.matched,
        "atrasadas": reckoning.late,
    })
}

fn head(calendar: &Calendar, day: Date) -> String {
    let (from, to) = (calendar.opening(day), calendar.closing(day));
    format!(
        "Ventas del {day}: desde {} hasta {}, hora de {ZONE}\n\n",
        calendar.minute(from),
        calendar.minute(to)
    )
}

fn members(reckoning: &Reckoning) -> String {
    let heads = [
        ("Rut", Align::Left),
        ("Nombre", Align::Left),
        ("Sopaipillas", Align::Right),
        ("Ventas", Align::Right),
        ("Clientes", Align::Right),
        ("Promedio por cliente", Align::Right),
    ];
    let row = |rut: String, name: String, sum: &Sum| {
        let average = sum.average_hundredths();
        [
            rut,
            name,
            sum.sold.to_string(),
            sum.sales.to_string(),
            sum.customers.to_string(),
            format!("{}.{:02}", average / 100, average % 100),
        ]
    };
    let of_member = |line: &Line| row(shown(&line.rut), shown(&line.name), &line.sum);
    let mut rows: Vec<_> = reckoning.lines.iter().map(of_member).collect();
    let all = "todas las ventas".to_owned();
    rows.push(row("Total".into(), all, &reckoning.total));
    table(heads, &rows)
}

fn carts_of_nobody(reckoning: &Reckoning) -> String {
    let carts = &reckoning.of_nobody;
    let sales: u64 = carts.values().map(|sum| sum.sales).sum();
    let sold: i64 = carts.values().map(|sum| sum.sold).sum();
    let mut text =
        format!("Ventas de carritos que no son de ningún socio: {sales} ({sold} sopaipillas)\n");
    for (plate, sum) in carts.iter().take(FOOT_LINES_MAX) {
        let (plate, Sum { sold, sales, .. }) = (shown(plate), sum);
        writeln_to(
            &mut text,
            &format!("  {plate}: {sales} ({sold} sopaipillas)"),
        );
    }
    more(&mut text, carts.len());
    text
}

fn unmatched(calendar: &Calendar, reckoning: &Reckoning) -> String {
    let sales = &reckoning.unmatched;
    let sold: i64 = sales.iter().map(|sale| sale.sold).sum();
    let mut text = format!(
        "Ventas sin patente donde no se vio ningún carrito: {} ({sold} sopaipillas)\n",
        sales.len()
    );
    for sale in sales.iter().take(FOOT_LINES_MAX) {
        let (at, customer) = (calendar.second(sale.at_ms), shown(&sale.customer));
        let line = format!(
            "  {at}, {}, {customer}: {} sopaipillas",
            sale.place, sale.sold
        );
        writeln_to(&mut text, &line);
    }
    more(&mut text, sales.len());
    text
}

fn more(text: &mut String, lines: usize) {
    if lines > FOOT_LINES_MAX {
        writeln_to(text, &format!("  … y {} más", lines - FOOT_LINES_MAX));
    }
}

/// Writing to a text cannot fail.
fn writeln_to(text: &mut String, line: &str) {
    _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use jiff::civil::Time;

    use super::*;
    use crate::daily_sales::reckoning::{
        Reckoner,
        tests::{member, sale},
    };

    const DAY: Date = Date::constant(2026, 11, 21);

    fn calendar() -> Calendar {
        Calendar::santiago(Time::constant(23, 59, 0, 0)).expect("the zone is built in")
    }

    fn reckoning() -> Reckoning {
        let opening = calendar().opening(DAY);
        let members = vec![
            member("12345678-K", "Begoña Ñancupil", Some("AB-CD-12"), 1),
            member("1-9", "Ana Soto", None, 2),
        ];
        let mut reckoner = Reckoner::new(members, opening);
        reckoner.add(sale(opening, "Juan", 3, Some("AB-CD-12")), None);
        reckoner.add(sale(opening + 1, "Inés", 7, None), Some("AB-CD-12".into()));
        reckoner.add(sale(opening + 2, "Inés\n", 2, Some("XX-YY-99")), None);
        reckoner.add(sale(opening + 3_600_000, "Luz", 4, None), None);
        reckoner.add(sale(opening - 1, "Luz", 1, Some("AB-CD-12")), None);
        reckoner.finish()
    }

    #[test]
    fn a_report_names_every_member_and_at_its_foot_what_is_nobody_s() {
        let expected = "\
Ventas del 2026-11-21: desde 2026-11-20 23:59 hasta 2026-11-21 23:59, hora de America/Santiago

Rut         Nombre            Sopaipillas  Ventas  Clientes  Promedio por cliente
1-9         Ana Soto                    0       0         0                  0.00
12345678-K  Begoña Ñancupil            11       3         3                  3.67
Total       todas las ventas           17       5         4                  4.25

Ventas de carritos que no son de ningún socio: 1 (2 sopaipillas)
  XX-YY-99: 1 (2 sopaipillas)
Ventas sin patente donde no se vio ningún carrito: 1 (4 sopaipillas)
  2026-11-21 00:59:00, -33.45000,-70.66000, Luz: 4 sopaipillas
Ventas sin patente asignadas por su ubicación: 1
Ventas de días anteriores que llegaron después de su informe: 1
";
        assert_eq!(text(&calendar(), DAY, &reckoning()), expected);
    }

    #[test]
    fn programs_read_the_same_figures() {
        let data = data(DAY, &reckoning());
        assert_eq!(data["dia"], "2026-11-21");
        let begona = json!({
            "rut": "12345678-K", "nombre": "Begoña Ñancupil", "sopaipillas": 11, "ventas": 3, "clientes": 3,
        });
        assert_eq!(data["socios"][1], begona);
        assert_eq!(data["sin_socio"][0]["patente"], "XX-YY-99");
        assert_eq!(
            data["sin_carrito"],
            json!({ "ventas": 1, "sopaipillas": 4 })
        );
    }

    #[test]
    fn a_foot_of_thousands_ends() {
        let mut reckoner = Reckoner::new(Vec::new(), 0);
        for i in 0..3000 {
            reckoner.add(sale(i, "Luz", 1, None), None);
        }
        let text = text(&calendar(), DAY, &reckoner.finish());
        assert!(text.lines().count() < FOOT_LINES_MAX + 20);
        assert!(text.contains("  … y 2000 más\n"));
    }
}
