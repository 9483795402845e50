//! BodyBudget for bodies that wait: for their next piece, to be expanded, or for their turn.
//!
//! Who may have how much of it is decided as switches do for the queues that share a buffer: each may have as much
//! as is still free (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
//! IEEE/ACM Transactions on Networking 6(2), 1998, with a factor of 1). So one client alone may fill half of it,
//! two a third each, and somebody who comes then always finds some.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
};

use aguacero::config::Gateway;

use crate::connection::addresses;

/// The budget of a worker.
#[derive(Default)]
pub(crate) struct BodyBudget {
    /// Bytes, in all.
    max: usize,
    taken: Cell<usize>,
    /// What each client has of them; one that has none is not in here.
    of_clients: RefCell<HashMap<IpAddr, usize>>,
}

/// What one request takes. Dropped, it is given back.
pub(crate) struct BudgetShare<'a> {
    budget: &'a BodyBudget,
    client: IpAddr,
    bytes: Cell<usize>,
}

impl BodyBudget {
    /// For as many bytes as may be in flight to Kafka, and at least for some of the largest bodies.
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self {
            max: (gateway.bytes_in_flight_max / gateway.workers).max(4 * gateway.body_bytes_max),
            ..Self::default()
        }
    }

    /// For a request of `client`; nothing is taken yet.
    pub(crate) fn share(&self, client: IpAddr) -> BudgetShare<'_> {
        BudgetShare {
            budget: self,
            client: addresses::client(client),
            bytes: Cell::new(0),
        }
    }
}

impl BudgetShare<'_> {
    /// Whose it is, as [`addresses::client`] tells.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// Takes more, and says whether the client may have as much as it has now.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let mut of_clients = self.budget.of_clients.borrow_mut();
        let of_client = of_clients.entry(self.client).or_default();
        *of_client += bytes;
        self.bytes.set(self.bytes.get() + bytes);
        let taken = self.budget.taken.get() + bytes;
        self.budget.taken.set(taken);
        *of_client <= self.budget.max.saturating_sub(taken)
    }

    /// All of it.
    pub(crate) fn give_back(&self) {
        let bytes = self.bytes.take();
        if bytes == 0 {
            return;
        }
        self.budget.taken.set(self.budget.taken.get() - bytes);
        let mut of_clients = self.budget.of_clients.borrow_mut();
        if let Some(of_client) = of_clients.get_mut(&self.client) {
            *of_client -= bytes;
            if *of_client == 0 {
                of_clients.remove(&self.client);
            }
        }
    }
}

impl Drop for BudgetShare<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn budget(max: usize) -> BodyBudget {
        BodyBudget {
            max,
            ..BodyBudget::default()
        }
    }

    /// Bytes that a client gets, taking one after another.
    fn fill<'a>(budget: &'a BodyBudget, client: &str) -> (usize, BudgetShare<'a>) {
        let share = budget.share(ip(client));
        let bytes = (1..).find(|_| !share.take(1)).unwrap() - 1;
        (bytes, share)
    }

    #[test]
    fn each_client_may_have_as_much_as_is_free() {
        let budget = budget(900);
        let (bytes, _first) = fill(&budget, "1.2.3.4");
        assert_eq!(bytes, 450);
        let (bytes, _again) = fill(&budget, "::ffff:1.2.3.4");
        assert_eq!(bytes, 0, "another request of the same client");
        let (bytes, _second) = fill(&budget, "1.2.3.5");
        assert!((223..=225).contains(&bytes), "{bytes}");
        let (bytes, _third) = fill(&budget, "2001:db8::1");
        assert!((110..=112).contains(&bytes), "{bytes}");
        let (bytes, _fourth) = fill(&budget, "2001:db8::2");
        assert_eq!(bytes, 0, "of the same network");
    }

    #[test]
    fn what_is_given_back_is_there_for_all_and_nothing_is_kept_of_who_left() {
        let budget = budget(100);
        let (_, first) = fill(&budget, "1.2.3.4");
        assert!(!budget.share(ip("1.2.3.5")).take(50));
        first.give_back();
        assert!(budget.share(ip("1.2.3.5")).take(50));
        assert!(first.take(50), "it may take again");
        drop(first);
        assert!(budget.share(ip("1.2.3.6")).take(0));
        assert_eq!(budget.taken.get(), 0);
        assert!(budget.of_clients.borrow().is_empty());
    }
}
