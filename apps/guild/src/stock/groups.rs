//! Sales in groups of five, and the deliveries that they ask for. Pure: what is known goes in, what is new comes out.

use std::collections::HashMap;

/// Sales in a group.
pub const GROUP: usize = 5;
/// A cart with fewer sopaipillas gets a delivery.
pub const STOCK_MIN: i64 = 20;
/// What a delivery fills a cart up to.
pub const STOCK_FULL: i64 = 100;

/// What is remembered between two sales.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Number of the group that is open.
    pub group: i64,
    /// The carts of its sales so far; none of a sale that names no cart.
    pub open: Vec<Option<String>>,
    /// Carts that have sold, by plate.
    pub carts: HashMap<String, Cart>,
    /// Number of the last delivery.
    pub last_delivery: i64,
}

/// What is known of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cart {
    /// What its last sale left, or a delivery since.
    pub stock: i64,
    /// A delivery is prepared and not made yet.
    pub is_awaiting: bool,
}

/// A sale, as far as the stock is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The cart, if it says which.
    pub plate: Option<String>,
    /// What it has left.
    pub stock: i64,
    /// When it arrived.
    pub at_ms: i64,
}

/// What a sale brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The group that it is in, from 1.
    pub group: i64,
    /// Its place in the group, from 1.
    pub place: i16,
    /// What is prepared, if it was the group's last.
    pub deliveries: Vec<Delivery>,
}

/// A delivery that is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number, from 1.
    pub id: i64,
    /// For which cart.
    pub plate: String,
    /// What the cart has.
    pub stock: i64,
    /// What it gets.
    pub amount: i64,
    /// When the sale arrived that completed the group.
    pub prepared_at_ms: i64,
}

impl State {
    /// Takes the next sale. `is_auto`: a delivery is made as soon as it is prepared.
    pub fn take(&mut self, sale: &Sale, is_auto: bool) -> Step {
        self.group = self.group.max(1);
        if let Some(plate) = &sale.plate {
            let cart = self.carts.entry(plate.clone()).or_insert(Cart {
                stock: sale.stock,
                is_awaiting: false,
            });
            cart.stock = sale.stock;
        }
        self.open.push(sale.plate.clone());
        let (group, place) = (self.group, self.open.len() as i16);
        let mut deliveries = Vec::new();
        if self.open.len() >= GROUP {
            deliveries = self.deliveries(sale.at_ms, is_auto);
            self.open.clear();
            self.group += 1;
        }
        Step {
            group,
            place,
            deliveries,
        }
    }

    /// For each cart of the group, in the order in which they sold first.
    fn deliveries(&mut self, at_ms: i64, is_auto: bool) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for plate in self.open.iter().flatten() {
            let Some(cart) = self.carts.get_mut(plate) else {
                continue;
            };
            if cart.is_awaiting || cart.stock >= STOCK_MIN {
                continue;
            }
            self.last_delivery += 1;
            deliveries.push(Delivery {
                id: self.last_delivery,
                plate: plate.clone(),
                stock: cart.stock,
                amount: STOCK_FULL - cart.stock,
                prepared_at_ms: at_ms,
            });
            if is_auto {
                cart.stock = STOCK_FULL;
            } else {
                cart.is_awaiting = true;
            }
        }
        deliveries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale(plate: &str, stock: i64) -> Sale {
        Sale {
            plate: (!plate.is_empty()).then(|| plate.into()),
            stock,
            at_ms: 1000 + stock,
        }
    }

    /// The carts that get a delivery after each of the sales.
    fn run(state: &mut State, sales: &[(&str, i64)], is_auto: bool) -> Vec<Vec<(String, i64)>> {
        let mut all = Vec::new();
        for (plate, stock) in sales {
            let step = state.take(&sale(plate, *stock), is_auto);
            let named = step.deliveries.into_iter().map(|d| (d.plate, d.amount));
            all.push(named.collect());
        }
        all
    }

    #[test]
    fn a_group_of_five_is_looked_at_when_it_is_complete() {
        let mut state = State::default();
        let sales = [("A", 19), ("B", 20), ("C", 5), ("A", 18), ("B", 60)];
        let found = run(&mut state, &sales, false);
        assert!(found[..4].iter().all(Vec::is_empty));
        let expected = [("A".to_owned(), 82), ("C".to_owned(), 95)];
        assert_eq!(found[4], expected, "each cart once, by its latest stock");
        assert_eq!((state.group, state.open.len()), (2, 0));
    }

    #[test]
    fn places_and_numbers_go_on() {
        let mut state = State::default();
        let mut places = Vec::new();
        for i in 0..12 {
            let step = state.take(&sale("A", 100 - i), false);
            places.push((step.group, step.place));
        }
        assert_eq!(places[0], (1, 1));
        assert_eq!(places[4], (1, 5));
        assert_eq!(places[5], (2, 1));
        assert_eq!(places[11], (3, 2));
    }

    #[test]
    fn a_cart_that_awaits_a_delivery_gets_no_second_one() {
        let mut state = State::default();
        let low = [("A", 10), ("A", 9), ("A", 8), ("A", 7), ("A", 6)];
        assert_eq!(run(&mut state, &low, false)[4].len(), 1);
        assert!(run(&mut state, &low, false)[4].is_empty());
        // It was made, and the cart sold on until it had few again.
        state.carts.insert(
            "A".into(),
            Cart {
                stock: STOCK_FULL,
                is_awaiting: false,
            },
        );
        assert_eq!(run(&mut state, &low, false)[4].len(), 1);
        assert_eq!(state.last_delivery, 2);
    }

    #[test]
    fn a_cart_that_refills_by_itself_is_full_until_its_next_sale() {
        let mut state = State::default();
        let sales = [("A", 10), ("B", 50), ("B", 49), ("B", 48), ("B", 47)];
        assert_eq!(run(&mut state, &sales, true)[4], [("A".to_owned(), 90)]);
        assert_eq!(state.carts["A"].stock, STOCK_FULL);
        // It is in the next group only if it sells.
        let others = [("B", 46), ("B", 45), ("B", 44), ("B", 43), ("B", 42)];
        assert!(run(&mut state, &others, true)[4].is_empty());
        let again = [("A", 99), ("A", 19), ("B", 41), ("B", 40), ("B", 39)];
        assert_eq!(run(&mut state, &again, true)[4], [("A".to_owned(), 81)]);
    }

    #[test]
    fn sales_of_no_cart_fill_a_group_and_get_nothing() {
        let mut state = State::default();
        let sales = [("", 1), ("", 2), ("A", 3), ("", 4), ("", 5)];
        assert_eq!(run(&mut state, &sales, false)[4], [("A".to_owned(), 97)]);
        assert_eq!(state.carts.len(), 1);
    }

    #[test]
    fn where_a_run_is_broken_off_does_not_matter() {
        let sales: Vec<_> = (0..23)
            .map(|i| sale(["A", "B", "C", ""][i % 4], (i as i64 * 7) % 40))
            .collect();
        let mut whole = State::default();
        let steps: Vec<_> = sales.iter().map(|s| whole.take(s, false)).collect();
        for cut in 0..sales.len() {
            let mut first = State::default();
            let mut found: Vec<_> = sales[..cut].iter().map(|s| first.take(s, false)).collect();
            let mut second = first.clone(); // as the tables give it back
            found.extend(sales[cut..].iter().map(|s| second.take(s, false)));
            assert_eq!(found, steps);
            assert_eq!(second, whole);
        }
    }
}
