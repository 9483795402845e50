//! Turns at what a worker does for one body at a time: judging large ones, expanding packed ones. They go round by
//! client, so whoever has hundreds of bodies waiting holds up another client by one of them.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use tokio::sync::oneshot;

/// Turns, of which one is taken at a time.
#[derive(Default)]
pub(crate) struct Turns(Rc<State>);

#[derive(Default)]
struct State {
    /// Whose turn it is.
    taken_by: Cell<Option<IpAddr>>,
    waiting: RefCell<Waiting>,
}

/// The requests that wait; those of one client in the order in which they came.
#[derive(Default)]
struct Waiting {
    /// The clients of `requests` in the order of their turns, but for the one whose turn it is: when that is over, it
    /// goes behind the others.
    order: VecDeque<IpAddr>,
    requests: HashMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    state: Rc<State>,
    client: IpAddr,
}

impl Turns {
    /// The next turn of `client`, as [`crate::connection::addresses::client`] tells one from another; none if it does
    /// not come within `wait_max`.
    pub(crate) async fn take(&self, client: IpAddr, wait_max: Duration) -> Option<Turn> {
        let state = &self.0;
        let Some(taken_by) = state.taken_by.get() else {
            state.taken_by.set(Some(client));
            let state = Rc::clone(state);
            return Some(Turn { state, client });
        };
        let turn = state.waiting.borrow_mut().join(client, taken_by);
        let waiting = Box::pin(tokio::time::timeout(wait_max, turn)); // seldom needed
        waiting.await.ok()?.ok()
    }
}

impl Waiting {
    fn join(&mut self, client: IpAddr, taken_by: IpAddr) -> oneshot::Receiver<Turn> {
        let (sender, turn) = oneshot::channel();
        match self.requests.entry(client) {
            Entry::Occupied(mut others) => others.get_mut().push_back(sender),
            Entry::Vacant(vacant) => {
                vacant.insert(VecDeque::from([sender]));
                if client != taken_by {
                    self.order.push_back(client);
                }
            }
        }
        turn
    }

    /// The first request of the next client, after a turn of `before`. Those that do not wait any more are passed over.
    fn next(&mut self, before: IpAddr) -> Option<(IpAddr, oneshot::Sender<Turn>)> {
        if self.requests.contains_key(&before) {
            self.order.push_back(before);
        }
        while let Some(client) = self.order.pop_front() {
            let Entry::Occupied(mut requests) = self.requests.entry(client) else {
                continue;
            };
            let mut still = std::iter::from_fn(|| requests.get_mut().pop_front());
            let next = still.find(|request| !request.is_closed());
            if requests.get().is_empty() {
                requests.remove();
            }
            if let Some(request) = next {
                return Some((client, request));
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.state.waiting.borrow_mut().next(self.client);
        self.state
            .taken_by
            .set(next.as_ref().map(|(client, _)| *client));
        if let Some((client, request)) = next {
            let state = Rc::clone(&self.state);
            _ = request.send(Turn { state, client }); // an error drops it, and the next one has it
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Context, task::Poll, task::Waker};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap()
    }

    /// The clients in the order of their turns, if these ask while the first one has one.
    fn order(clients: &[u8]) -> Vec<u8> {
        runtime().block_on(async {
            let (turns, served) = (Turns::default(), RefCell::new(Vec::new()));
            let request = |client| {
                let (turns, served) = (&turns, &served);
                async move {
                    let turn = turns.take(ip(client), LONG).await;
                    served.borrow_mut().push(client);
                    tokio::task::yield_now().await;
                    drop(turn);
                }
            };
            futures_util::future::join_all(clients.iter().map(|c| request(*c))).await;
            served.into_inner()
        })
    }

    #[test]
    fn whoever_comes_late_waits_for_one_body_of_each_other_client() {
        let mut clients = vec![1; 400];
        clients.push(2);
        assert_eq!(order(&clients)[..3], [1, 2, 1], "one client's 400 bodies");
        assert_eq!(order(&clients).len(), 401);
        assert_eq!(
            order(&[1, 1, 1, 2, 2, 3]),
            [1, 2, 3, 1, 2, 1],
            "each in its turn"
        );
    }

    #[test]
    fn a_turn_does_not_get_lost_with_a_request_that_is_given_up() {
        runtime().block_on(async {
            let turns = Turns::default();
            let first = turns.take(ip(1), LONG).await;
            let mut context = Context::from_waker(Waker::noop());
            {
                let mut gone = pin!(turns.take(ip(2), LONG));
                assert!(gone.as_mut().poll(&mut context).is_pending());
            }
            let mut granted = Box::pin(turns.take(ip(2), LONG));
            assert!(granted.as_mut().poll(&mut context).is_pending());
            let mut third = pin!(turns.take(ip(3), LONG));
            assert!(third.as_mut().poll(&mut context).is_pending());
            drop(first); // passes over the one that is gone
            drop(granted); // before it has looked
            assert!(matches!(
                third.as_mut().poll(&mut context),
                Poll::Ready(Some(_))
            ));
            assert!(turns.0.taken_by.get().is_none());
            assert!(turns.0.waiting.borrow().requests.is_empty());
        });
    }

    #[test]
    fn nobody_waits_for_ever() {
        runtime().block_on(async {
            let turns = Turns::default();
            let _turn = turns.take(ip(1), LONG).await;
            assert!(turns.take(ip(2), Duration::from_millis(10)).await.is_none());
        });
    }
}
