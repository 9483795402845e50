//! Whose a sale is that names no cart: by the place where it was made.

use crate::place::Place;

/// How long before the sale a cart's last position may have come.
pub const POSITION_AGE_MAX_MS: i64 = 60_000;
/// How far from the sale that position may be.
pub const DISTANCE_MAX_METRES: f64 = 100.0;

/// Where a cart was.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The cart.
    pub plate: String,
    /// Where.
    pub place: Place,
}

/// The cart that made the sale at `place`: of `last`, which has each cart's last position before the sale, the nearest,
/// if it is near enough. Of two that are equally near, the one whose plate is first in the alphabet, so that the same
/// positions always name the same cart.
#[must_use]
pub fn cart_at(place: Place, last: &[Seen]) -> Option<&str> {
    let with_distance = last.iter().map(|seen| (place.metres_to(seen.place), seen));
    let near = with_distance.filter(|(metres, _)| *metres <= DISTANCE_MAX_METRES);
    let nearest = near.min_by(|(a, seen), (b, other)| {
        let by_plate = || seen.plate.cmp(&other.plate);
        a.total_cmp(b).then_with(by_plate)
    });
    nearest.map(|(_, seen)| seen.plate.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place {
        lat: -33.45,
        lon: -70.66,
    };

    fn seen(plate: &str, metres_north: f64) -> Seen {
        let place = Place {
            lat: HERE.lat + metres_north / 111_195.0,
            ..HERE
        };
        Seen {
            plate: plate.into(),
            place,
        }
    }

    #[test]
    fn the_nearest_cart_within_a_hundred_metres_made_the_sale() {
        let last = [seen("FAR", 99.0), seen("NEAR", -20.0), seen("OUT", 101.0)];
        assert_eq!(cart_at(HERE, &last), Some("NEAR"));
        assert_eq!(cart_at(HERE, &last[..1]), Some("FAR"));
        assert_eq!(cart_at(HERE, &last[2..]), None);
        assert_eq!(cart_at(HERE, &[]), None);
    }

    #[test]
    fn of_two_carts_at_one_place_it_is_always_the_same() {
        let (a, b) = (seen("A", 5.0), seen("B", 5.0));
        assert_eq!(cart_at(HERE, &[a.clone(), b.clone()]), Some("A"));
        assert_eq!(cart_at(HERE, &[b, a]), Some("A"));
    }
}
