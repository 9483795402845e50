//! What is on the disk, to be found again: for each client where in the log the lines are of what it has sent and of what has
//! come for it, and the latest of these themselves. Eight bytes for each of the former; of the latter at most [`AT_HAND_MAX`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    log::{file::Reader, line::Entry},
    message::{Client, ClientId, Delivery, Last, Message, Refused},
};

/// Messages of an inbox that need not be read from the file.
const AT_HAND_MAX: usize = 256;
/// Clients, and messages, of a page: with texts of 4 KiB some 2 MB, half of what a message of gRPC may have.
const CLIENTS_OF_A_PAGE: usize = 1000;
const MESSAGES_OF_A_PAGE: usize = 500;

/// Shared by the writer, who lays things on it, and all that take them.
pub struct Shelf {
    state: Mutex<State>,
    log: Reader,
    joined: watch::Sender<usize>,
}

/// By client.
#[derive(Default)]
pub struct State(Vec<Place>);

struct Place {
    client: Client,
    sent: Vec<u64>,
    received: Vec<u64>,
    /// The last of `received`.
    at_hand: VecDeque<Arc<Message>>,
    delivered: u64,
    /// How many have come.
    arrived: watch::Sender<u64>,
}

/// What has come for one client.
#[derive(Clone)]
pub struct Inbox {
    shelf: Arc<Shelf>,
    client: ClientId,
    arrived: watch::Receiver<u64>,
}

impl State {
    pub(super) fn join(&mut self, client: Client) {
        self.0.push(Place {
            client,
            sent: Vec::new(),
            received: Vec::new(),
            at_hand: VecDeque::new(),
            delivered: 0,
            arrived: watch::Sender::new(0),
        });
    }

    /// Notes where the line of a message is. Its clients have joined.
    pub(super) fn put(&mut self, message: &Message, offset: u64) {
        if let Some(place) = self.0.get_mut(message.from.index()) {
            place.sent.push(offset);
        }
        if let Some(place) = self.0.get_mut(message.to.index()) {
            place.received.push(offset);
            place.arrived.send_replace(place.received.len() as u64);
        }
    }

    /// Keeps at hand what was put last for its addressee.
    fn keep(&mut self, message: Message) {
        if let Some(place) = self.0.get_mut(message.to.index()) {
            if place.at_hand.len() == AT_HAND_MAX {
                place.at_hand.pop_front();
            }
            place.at_hand.push_back(Arc::new(message));
        }
    }

    pub(super) fn delivered(&mut self, client: ClientId, position: u64) {
        if let Some(place) = self.0.get_mut(client.index()) {
            place.delivered = position.clamp(place.delivered, place.received.len() as u64);
            let waiting = place.received.len() - place.delivered as usize;
            while place.at_hand.len() > waiting {
                place.at_hand.pop_front();
            }
        }
    }
}

impl Place {
    /// The message at a position, if it is at hand, else where it is.
    fn find(&self, position: u64) -> Result<Arc<Message>, Option<u64>> {
        let first = self.received.len() - self.at_hand.len();
        let index = position as usize - 1;
        let at_hand = index
            .checked_sub(first)
            .and_then(|index| self.at_hand.get(index));
        at_hand
            .cloned()
            .ok_or_else(|| self.received.get(index).copied())
    }
}

impl Shelf {
    pub(super) fn new(state: State, log: Reader) -> Self {
        let joined = watch::Sender::new(state.0.len());
        Self {
            state: Mutex::new(state),
            log,
            joined,
        }
    }

    /// Nothing panics while it is held, but for memory that has run out.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays on it what is on the disk now.
    pub(super) fn publish(
        &self,
        clients: Vec<Client>,
        messages: Vec<(Message, u64)>,
        delivered: Vec<(ClientId, u64)>,
    ) {
        let mut state = self.state();
        for client in clients {
            state.join(client);
            self.joined.send_replace(state.0.len());
        }
        for (message, offset) in messages {
            state.put(&message, offset);
            state.keep(message);
        }
        for (client, position) in delivered {
            state.delivered(client, position);
        }
    }

    /// Reads the file.
    pub(super) fn check_last(
        &self,
        client: ClientId,
        last: Last,
    ) -> anyhow::Result<Result<(), Refused>> {
        let offset = {
            let state = self.state();
            let Some(place) = state.0.get(client.index()) else {
                return Ok(Err(Refused::older_log()));
            };
            let Some(index) = last.position.checked_sub(1) else {
                return Ok(Ok(())); // it has none
            };
            usize::try_from(index)
                .ok()
                .and_then(|index| place.received.get(index).copied())
        };
        let is_there = match offset {
            Some(offset) => self.message(offset)?.id == last.id,
            None => false,
        };
        Ok(is_there.then_some(()).ok_or_else(Refused::older_log))
    }

    pub(super) fn clients(&self, after: ClientId) -> Vec<Client> {
        let state = self.state();
        let places = state
            .0
            .iter()
            .skip(after.0 as usize)
            .take(CLIENTS_OF_A_PAGE);
        places.map(|place| place.client.clone()).collect()
    }

    /// Reads the file.
    pub(super) fn sent_by(
        &self,
        client: ClientId,
        skip: u64,
    ) -> anyhow::Result<Result<Vec<Message>, Refused>> {
        let offsets: Vec<_> = {
            let state = self.state();
            let Some(place) = state.0.get(client.index()) else {
                return Ok(Err(Refused::unknown(client)));
            };
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            place
                .sent
                .iter()
                .skip(skip)
                .take(MESSAGES_OF_A_PAGE)
                .copied()
                .collect()
        };
        let messages = offsets.into_iter().map(|offset| self.message(offset));
        messages.collect::<anyhow::Result<_>>().map(Ok)
    }

    fn message(&self, offset: u64) -> anyhow::Result<Message> {
        match self.log.entry(offset)? {
            Entry::Message(message) => Ok(message),
            other => anyhow::bail!(
                "the log was changed by somebody else: at byte {offset} there is {other:?}"
            ),
        }
    }

    pub(super) fn inbox(this: &Arc<Self>, client: ClientId) -> Result<Inbox, Refused> {
        let state = this.state();
        let place = state
            .0
            .get(client.index())
            .ok_or_else(|| Refused::unknown(client))?;
        Ok(Inbox {
            shelf: this.clone(),
            client,
            arrived: place.arrived.subscribe(),
        })
    }

    pub(super) async fn more_clients(&self, count: usize) -> usize {
        let mut joined = self.joined.subscribe();
        // The sender is ours.
        joined
            .wait_for(|there| *there > count)
            .await
            .map_or(count, |there| *there)
    }
}

impl Inbox {
    /// Whose it is.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Up to where messages have been delivered, as far as the log tells.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.shelf
            .state()
            .0
            .get(self.client.index())
            .map_or(0, |place| place.delivered)
    }

    /// The messages behind the position `after`, at least one and at most `max`: waits until there is one.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self, after: u64, max: usize) -> anyhow::Result<Vec<Delivery>> {
        let arrived = *self.arrived.wait_for(|arrived| *arrived > after).await?;
        let last = arrived.min(after + max as u64);
        let found: Vec<_> = {
            let state = self.shelf.state();
            let place = state.0.get(self.client.index());
            (after + 1..=last)
                .map(|position| {
                    (
                        position,
                        place.map_or(Err(None), |place| place.find(position)),
                    )
                })
                .collect()
        };
        let is_at_hand = found.iter().all(|(_, found)| found.is_ok());
        let inbox = self.clone();
        let read = move || {
            found
                .into_iter()
                .map(|(position, found)| inbox.delivery(position, found))
                .collect()
        };
        match is_at_hand {
            true => read(),
            false => tokio::task::spawn_blocking(read).await?,
        }
    }

    fn delivery(
        &self,
        position: u64,
        found: Result<Arc<Message>, Option<u64>>,
    ) -> anyhow::Result<Delivery> {
        let message = match found {
            Ok(message) => Arc::unwrap_or_clone(message),
            Err(Some(offset)) => self.shelf.message(offset)?,
            Err(None) => anyhow::bail!("client {} has no message {position}", self.client),
        };
        let from_name = self
            .shelf
            .state()
            .0
            .get(message.from.index())
            .map(|place| place.client.name.clone());
        Ok(Delivery {
            position,
            from_name: from_name.unwrap_or_default(),
            message,
        })
    }
}
