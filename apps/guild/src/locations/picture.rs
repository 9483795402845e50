//! What the screen shows of the map, as text. Pure.

use super::map::{Change, Map, Seen, Who};
use crate::{
    daily_sales::calendar::Calendar,
    text::{Align, shown, table},
};

/// Lines beside the rows of the two tables: titles, heads, blanks, and what there is no room for.
const LINES_BESIDE: usize = 9;
/// The share of the rows that strays leave to carts, if there are more of both than there is room for.
const STRAYS_SHARE: usize = 3;

/// The whole screen, of so many lines: carts by plate, and strays apart.
#[must_use]
pub fn screen(map: &Map, calendar: &Calendar, lines: usize) -> String {
    let room = lines.saturating_sub(LINES_BESIDE).max(2);
    let carts: Vec<_> = map.carts().collect();
    let strays = map.strays();
    let for_strays = strays
        .len()
        .min((room / STRAYS_SHARE).max(room.saturating_sub(carts.len())));
    let for_carts = room - for_strays;
    let ago = |seen: &Seen| format!("hace {} s", (map.now_ms() - seen.said_ms).max(0) / 1000);
    let cart = |(plate, seen): &(&str, &Seen)| [shown(plate), seen.place.to_string(), ago(seen)];
    let stray = |seen: &&Seen| [seen.place.to_string(), ago(seen)];
    let cart_rows: Vec<_> = carts.iter().take(for_carts).map(cart).collect();
    let stray_rows: Vec<_> = strays.iter().take(for_strays).map(stray).collect();
    let mut text = format!(
        "{}\n\nCarritos: {}\n",
        calendar.second(map.now_ms()),
        carts.len()
    );
    let heads = [
        ("Carrito", Align::Left),
        ("Ubicación", Align::Left),
        ("Visto", Align::Right),
    ];
    text += &table(heads, &cart_rows);
    text += &more(carts.len() - cart_rows.len());
    text += &format!("\nExtraviados: {}\n", strays.len());
    text += &table(
        [("Ubicación", Align::Left), ("Visto", Align::Right)],
        &stray_rows,
    );
    text += &more(strays.len() - stray_rows.len());
    text
}

fn more(hidden: usize) -> String {
    match hidden {
        0 => String::new(),
        n => format!("… y {n} más\n"),
    }
}

/// A change as a line.
#[must_use]
pub fn line(calendar: &Calendar, now_ms: i64, change: &Change) -> String {
    let what = match change {
        Change::At(Who::Cart(plate), place) => format!("carrito {} en {place}", shown(plate)),
        Change::At(Who::Stray(_), place) => format!("extraviado en {place}"),
        Change::Gone(Who::Cart(plate), _) => format!("carrito {} se fue", shown(plate)),
        Change::Gone(Who::Stray(_), place) => format!("extraviado en {place} se fue"),
    };
    format!("{} {what}", calendar.second(now_ms))
}

#[cfg(test)]
mod tests {
    use aguacero::id::EventId;
    use jiff::civil::{Date, Time};

    use super::*;
    use crate::place::Place;

    fn calendar() -> Calendar {
        Calendar::santiago(Time::constant(23, 59, 0, 0)).expect("built in")
    }

    fn map(carts: usize, strays: usize) -> (Map, i64) {
        let now = calendar().closing(Date::constant(2026, 11, 21));
        let place = Place {
            lat: -33.45,
            lon: -70.66,
        };
        let mut map = Map::default();
        for n in 0..carts {
            let id = EventId((1000 + n as u128).to_be_bytes());
            let cart = Who::Cart(format!("AB-CD-{n:02}"));
            map.hear(id, (cart, place), now - 5000, now);
        }
        for n in 0..strays {
            let id = EventId((n as u128).to_be_bytes());
            map.hear(id, (Who::Stray(id), place), now - 1000, now);
        }
        (map, now)
    }

    #[test]
    fn carts_and_strays_are_shown_apart() {
        let (map, _) = map(1, 1);
        let expected = "\
2026-11-21 23:59:00

Carritos: 1
Carrito   Ubicación             Visto
AB-CD-00  -33.45000,-70.66000  hace 5 s

Extraviados: 1
Ubicación             Visto
-33.45000,-70.66000  hace 1 s
";
        let squeezed = |text: &str| {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            text.lines().map(words).collect::<Vec<_>>()
        };
        let screen = screen(&map, &calendar(), 24);
        assert_eq!(squeezed(&screen), squeezed(expected));
    }

    #[test]
    fn a_screen_is_never_longer_than_it_is_high() {
        for (carts, strays) in [(0, 0), (100, 0), (0, 100), (100, 100), (14, 1), (1, 14)] {
            for lines in [11, 24, 60] {
                let screen = screen(&map(carts, strays).0, &calendar(), lines);
                assert!(
                    screen.lines().count() <= lines,
                    "{carts} {strays} {lines}\n{screen}"
                );
            }
        }
        let crowded = screen(&map(100, 100).0, &calendar(), 24);
        assert!(
            crowded.contains("… y 90 más\n") && crowded.contains("… y 95 más\n"),
            "{crowded}"
        );
    }

    #[test]
    fn a_change_is_a_line() {
        let now = calendar().closing(Date::constant(2026, 11, 21));
        let place = Place {
            lat: -33.45,
            lon: -70.66,
        };
        let told = |change| line(&calendar(), now, &change);
        let at = told(Change::At(Who::Cart("A\n".into()), place));
        assert_eq!(
            at,
            "2026-11-21 23:59:00 carrito A\u{fffd} en -33.45000,-70.66000"
        );
        let gone = told(Change::Gone(Who::Cart("A".into()), place));
        assert_eq!(gone, "2026-11-21 23:59:00 carrito A se fue");
    }
}
