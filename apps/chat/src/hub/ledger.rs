//! Who has registered, and which messages are known: pure state, which the writer alone has.

use std::collections::{HashMap, HashSet, hash_map};

use uuid::Uuid;

use crate::message::{Client, ClientId, Message, Refused, check_name, check_text};

/// All names and all ids. An id takes 16 bytes of memory, and what the table leaves free, for as long as its line is in the log.
pub struct Ledger {
    clients_max: u32,
    clients: Vec<(String, Uuid)>,
    names: HashMap<String, ClientId>,
    messages: HashSet<Uuid>,
}

/// What becomes of a registration.
#[derive(Debug, PartialEq, Eq)]
pub enum Registration {
    /// It was made before.
    Known(ClientId),
    /// It has to be written.
    New(Client),
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has to be written.
    New,
    /// It was written before.
    Repeat,
}

impl Ledger {
    /// Of nobody; so many may register.
    #[must_use]
    pub fn new(clients_max: u32) -> Self {
        Self {
            clients_max,
            clients: Vec::new(),
            names: HashMap::new(),
            messages: HashSet::new(),
        }
    }

    /// Takes the name for this registration, unless it was. A member was registered in this log before.
    ///
    /// # Errors
    /// The name is taken, or none; there are as many as may be; a member is not there.
    pub fn register(
        &mut self,
        name: String,
        registration: Uuid,
        is_member: bool,
        since_ms: i64,
    ) -> Result<Registration, Refused> {
        if let Some(id) = self.names.get(&name) {
            return match self.clients.get(id.index()) {
                Some((_, theirs)) if *theirs == registration => Ok(Registration::Known(*id)),
                _ => Err(Refused(format!(
                    "the name {name} is taken: choose another one, or come from the folder that it was registered from"
                ))),
            };
        }
        check_name(&name)?;
        if is_member {
            // It would get another number than others know it by.
            return Err(Refused::older_log());
        }
        let id = u32::try_from(self.clients.len() + 1).ok();
        let id = id.filter(|id| *id <= self.clients_max).ok_or_else(|| {
            Refused(format!(
                "{} clients are registered here, and the server takes no more: whoever runs it may give it a greater --clients-max",
                self.clients.len()
            ))
        })?;
        let client = Client {
            id: ClientId(id),
            name,
            since_ms,
        };
        self.join(&client, registration);
        Ok(Registration::New(client))
    }

    /// Takes the message, unless it was.
    ///
    /// # Errors
    /// It cannot be taken: a client that there is not, no text or too much.
    pub fn take(&mut self, message: &Message) -> Result<Verdict, Refused> {
        if self.messages.contains(&message.id) {
            return Ok(Verdict::Repeat);
        }
        for client in [message.from, message.to] {
            self.name(client).ok_or_else(|| Refused::unknown(client))?;
        }
        check_text(&message.text)?;
        self.messages.insert(message.id);
        Ok(Verdict::New)
    }

    /// What a client is called.
    #[must_use]
    pub fn name(&self, client: ClientId) -> Option<&str> {
        self.clients
            .get(client.index())
            .map(|(name, _)| name.as_str())
    }

    /// Takes what the log tells of a client; none if that cannot be.
    pub fn restore(&mut self, client: &Client, registration: Uuid) -> Option<()> {
        let is_next = client.id.index() == self.clients.len();
        (is_next && !self.names.contains_key(&client.name)).then(|| self.join(client, registration))
    }

    /// Takes what the log tells of a message; none if that cannot be.
    pub fn restore_message(&mut self, message: &Message) -> Option<()> {
        let is_known = |client| self.name(client).is_some();
        (is_known(message.from) && is_known(message.to) && self.messages.insert(message.id))
            .then_some(())
    }

    fn join(&mut self, client: &Client, registration: Uuid) {
        if let hash_map::Entry::Vacant(place) = self.names.entry(client.name.clone()) {
            place.insert(client.id);
            self.clients.push((client.name.clone(), registration));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TEXT_BYTES_MAX;

    fn two() -> Ledger {
        let mut ledger = Ledger::new(2);
        for (name, registration) in [("ana", 1), ("ben", 2)] {
            ledger
                .register(name.into(), Uuid::from_u128(registration), false, 0)
                .unwrap();
        }
        ledger
    }

    fn message(id: u128, to: u32, text: &str) -> Message {
        Message {
            id: Uuid::from_u128(id),
            from: ClientId(1),
            to: ClientId(to),
            at_ms: 0,
            text: text.into(),
        }
    }

    #[test]
    fn a_registration_that_is_repeated_gets_its_id_and_nobody_else_the_name() {
        let mut ledger = two();
        let again = ledger.register("ben".into(), Uuid::from_u128(2), true, 9);
        assert_eq!(again, Ok(Registration::Known(ClientId(2))));
        assert!(
            ledger
                .register("ben".into(), Uuid::from_u128(3), false, 9)
                .is_err()
        );
    }

    #[test]
    fn names_that_are_no_word_of_a_line_or_no_folder_are_refused() {
        for name in ["", "a b", "a:b", "a\nb", "a/b", ".", "..", &"a".repeat(33)] {
            assert!(
                Ledger::new(1)
                    .register(name.into(), Uuid::nil(), false, 0)
                    .is_err(),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_member_that_is_not_there_gets_no_other_number() {
        let mut ledger = Ledger::new(1);
        let told = ledger.register("ana".into(), Uuid::nil(), true, 0);
        assert_eq!(told, Err(Refused::older_log()));
        assert!(ledger.register("ana".into(), Uuid::nil(), false, 0).is_ok());
    }

    #[test]
    fn an_id_is_taken_once_and_what_was_refused_can_come_again() {
        let mut ledger = two();
        assert!(ledger.take(&message(7, 3, "to nobody")).is_err());
        assert!(ledger.take(&message(7, 2, "")).is_err());
        assert!(
            ledger
                .take(&message(7, 2, &"x".repeat(TEXT_BYTES_MAX + 1)))
                .is_err()
        );
        assert_eq!(ledger.take(&message(7, 2, "hello")), Ok(Verdict::New));
        assert_eq!(ledger.take(&message(7, 2, "hello")), Ok(Verdict::Repeat));
    }
}
