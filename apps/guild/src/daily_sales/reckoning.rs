//! A day's sales added up: for each member, and for what belongs to none.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::place::Place;

/// A member as the last registration before the closing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its rut, as it was written.
    pub rut: String,
    /// Name and surname.
    pub name: String,
    /// Its cart.
    pub plate: Option<String>,
    /// When it was registered: arrival, partition, offset.
    pub registered: (i64, i32, i64),
}

/// A sale.
#[derive(Debug, Clone, PartialEq)]
pub struct Sale {
    /// When it arrived.
    pub at_ms: i64,
    /// Its place in Kafka, which tells sales of one moment apart.
    pub position: (i32, i64),
    /// Who bought.
    pub customer: String,
    /// How many sopaipillas.
    pub sold: i64,
    /// The cart that it names.
    pub plate: Option<String>,
    /// Where it was made.
    pub place: Place,
}

/// What a member sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub rut: String,
    /// The name.
    pub name: String,
    /// What it adds up to.
    pub sum: Sum,
}

/// What sales add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Sopaipillas.
    pub sold: i64,
    /// Sales.
    pub sales: u64,
    /// Distinct customers.
    pub customers: u64,
}

impl Sum {
    /// Hundredths of a sopaipilla for each customer, rounded to the nearest.
    #[must_use]
    pub fn average_hundredths(&self) -> i64 {
        match i64::try_from(self.customers) {
            Ok(customers) if customers > 0 => (self.sold * 100 + customers / 2) / customers,
            _ => 0,
        }
    }
}

/// A day, added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reckoning {
    /// Every member, by name and then by rut.
    pub lines: Vec<Line>,
    /// What was sold in all, whoever's it is.
    pub total: Sum,
    /// Carts that belong to no member.
    pub of_nobody: BTreeMap<String, Sum>,
    /// Sales that name no cart, and at whose place none was seen, as they came.
    pub unmatched: Vec<Sale>,
    /// Sales that name no cart and were given to the one that was there.
    pub matched: u64,
    /// Sales that arrived before the day began, and too late for the report of theirs.
    pub late: u64,
}

#[derive(Default)]
struct Tally {
    sold: i64,
    sales: u64,
    customers: HashSet<String>,
}

impl Tally {
    fn add(&mut self, sale: &Sale) {
        self.sold += sale.sold;
        self.sales += 1;
        if !self.customers.contains(&sale.customer) {
            self.customers.insert(sale.customer.clone());
        }
    }

    fn sum(&self) -> Sum {
        Sum {
            sold: self.sold,
            sales: self.sales,
            customers: self.customers.len() as u64,
        }
    }
}

/// Adds a day up, sale by sale.
pub struct Reckoner {
    members: Vec<Member>,
    /// Which of `members` a cart belongs to.
    owners: HashMap<String, usize>,
    tallies: Vec<Tally>,
    all: Tally,
    of_nobody: HashMap<String, Tally>,
    unmatched: Vec<Sale>,
    matched: u64,
    late: u64,
    opening_ms: i64,
}

impl Reckoner {
    /// For a day that began at `opening_ms`, and had these members when it closed: each rut once. A cart that
    /// several have registered belongs to the one who did so last.
    #[must_use]
    pub fn new(mut members: Vec<Member>, opening_ms: i64) -> Self {
        members.sort_by(|a, b| (&a.name, &a.rut).cmp(&(&b.name, &b.rut)));
        let mut owners: HashMap<String, usize> = HashMap::new();
        for (i, member) in members.iter().enumerate() {
            let Some(plate) = &member.plate else {
                continue;
            };
            let owner = owners.entry(plate.clone()).or_insert(i);
            if members[*owner].registered < member.registered {
                *owner = i;
            }
        }
        Self {
            tallies: members.iter().map(|_| Tally::default()).collect(),
            members,
            owners,
            all: Tally::default(),
            of_nobody: HashMap::new(),
            unmatched: Vec::new(),
            matched: 0,
            late: 0,
            opening_ms,
        }
    }

    /// Adds a sale. `seen` is the cart that was at its place, if it names none itself.
    pub fn add(&mut self, sale: Sale, seen: Option<String>) {
        self.all.add(&sale);
        self.late += u64::from(sale.at_ms < self.opening_ms);
        self.matched += u64::from(sale.plate.is_none() && seen.is_some());
        let Some(plate) = sale.plate.clone().or(seen) else {
            self.unmatched.push(sale);
            return;
        };
        match self.owners.get(&plate) {
            Some(owner) => self.tallies[*owner].add(&sale),
            None => self.of_nobody.entry(plate).or_default().add(&sale),
        }
    }

    /// What it comes to.
    #[must_use]
    pub fn finish(mut self) -> Reckoning {
        let line = |(member, tally): (Member, Tally)| Line {
            rut: member.rut,
            name: member.name,
            sum: tally.sum(),
        };
        let by_cart = self.of_nobody.iter().map(|(p, t)| (p.clone(), t.sum()));
        self.unmatched
            .sort_by_key(|sale| (sale.at_ms, sale.position));
        Reckoning {
            total: self.all.sum(),
            of_nobody: by_cart.collect(),
            lines: self
                .members
                .into_iter()
                .zip(self.tallies)
                .map(line)
                .collect(),
            unmatched: self.unmatched,
            matched: self.matched,
            late: self.late,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn member(rut: &str, name: &str, plate: Option<&str>, at: i64) -> Member {
        Member {
            rut: rut.into(),
            name: name.into(),
            plate: plate.map(Into::into),
            registered: (at, 0, 0),
        }
    }

    pub(in super::super) fn sale(
        at_ms: i64,
        customer: &str,
        sold: i64,
        plate: Option<&str>,
    ) -> Sale {
        Sale {
            at_ms,
            position: (0, at_ms),
            customer: customer.into(),
            sold,
            plate: plate.map(Into::into),
            place: Place {
                lat: -33.45,
                lon: -70.66,
            },
        }
    }

    fn sum(sold: i64, sales: u64, customers: u64) -> Sum {
        Sum {
            sold,
            sales,
            customers,
        }
    }

    #[test]
    fn every_sale_is_in_one_place_of_the_report() {
        let members = vec![
            member("2-K", "Zoe", Some("ZZ"), 1),
            member("1-9", "Ana", Some("AA"), 2),
            member("3-5", "Eva", None, 3),
        ];
        let mut reckoner = Reckoner::new(members, 100);
        reckoner.add(sale(100, "Juan", 3, Some("AA")), None);
        reckoner.add(sale(101, "Juan", 2, Some("AA")), None);
        reckoner.add(sale(102, "Inés", 1, None), Some("AA".into()));
        reckoner.add(sale(99, "Juan", 4, Some("ZZ")), None);
        reckoner.add(sale(104, "Juan", 5, Some("XX")), None);
        reckoner.add(sale(106, "Inés", 6, None), None);
        reckoner.add(sale(105, "Inés", 7, None), None);
        let day = reckoner.finish();
        let lines: Vec<_> = day.lines.iter().map(|l| (l.rut.as_str(), l.sum)).collect();
        let expected = [
            ("1-9", sum(6, 3, 2)),
            ("3-5", sum(0, 0, 0)),
            ("2-K", sum(4, 1, 1)),
        ];
        assert_eq!(lines, expected, "by name; who sold nothing is there too");
        assert_eq!(day.of_nobody, BTreeMap::from([("XX".into(), sum(5, 1, 1))]));
        let unmatched: Vec<_> = day.unmatched.iter().map(|s| s.sold).collect();
        assert_eq!(unmatched, [7, 6], "as they came");
        assert_eq!(day.total, sum(28, 7, 2));
        assert_eq!((day.matched, day.late), (1, 1));
    }

    #[test]
    fn a_cart_belongs_to_whoever_registered_it_last() {
        for swapped in [false, true] {
            let mut members = vec![
                member("1-9", "Ana", Some("AA"), 1),
                member("2-K", "Zoe", Some("AA"), 2),
            ];
            if swapped {
                members.reverse();
            }
            let mut reckoner = Reckoner::new(members, 0);
            reckoner.add(sale(1, "Juan", 3, Some("AA")), None);
            let day = reckoner.finish();
            assert_eq!(day.lines[1].sum, sum(3, 1, 1));
            assert_eq!(day.lines[0].sum, Sum::default());
        }
    }

    #[test]
    fn an_average_is_rounded_to_hundredths_and_nobody_bought_nothing() {
        let average = |sold, customers| sum(sold, 9, customers).average_hundredths();
        assert_eq!(average(10, 3), 333);
        assert_eq!(average(20, 3), 667);
        assert_eq!(average(1, 8), 13);
        assert_eq!(average(0, 0), 0);
    }
}
