//! What is done with a line that somebody has typed, and how what is told is shown.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    commands::{Command, HELP},
    patience::patiently,
    session::{Event, Session},
};
use crate::{
    message::{Client, ClientId, Message},
    text::{clock, escaped, time},
    transport::{Transport, Trouble},
};

const TO_WHOM: &str = "to whom? /to NAME says it";

/// Of one client.
pub struct Talk {
    transport: Arc<dyn Transport>,
    session: Session,
    patience: Duration,
    /// By name, as far as it was asked for.
    known: HashMap<String, ClientId>,
    addressee: Option<(ClientId, String)>,
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// To be shown; nothing if it is empty.
    Shown(String),
    /// It was not done, and why.
    Failed(String),
    /// The end.
    Quit,
}

impl Talk {
    /// By the session of a client.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, session: Session, patience: Duration) -> Self {
        Self {
            transport,
            session,
            patience,
            known: HashMap::new(),
            addressee: None,
        }
    }

    /// To whom a text without a name goes.
    #[must_use]
    pub fn addressee(&self) -> Option<&str> {
        self.addressee.as_ref().map(|(_, name)| name.as_str())
    }

    /// Does what `line` says.
    ///
    /// # Errors
    /// The client's folder cannot be written.
    pub async fn line(&mut self, line: &str) -> anyhow::Result<Answer> {
        Ok(match Command::of(line) {
            Command::Nothing => Answer::Shown(String::new()),
            Command::Help => Answer::Shown(HELP.to_owned()),
            Command::Quit => Answer::Quit,
            Command::Unknown(command) => {
                Answer::Failed(format!("there is no /{}; there is /help", escaped(command)))
            }
            Command::Who => shown(self.who().await.map(|clients| who(&clients))),
            Command::Sent => self.sent().await,
            Command::Say(text) => return self.say(text).await,
            Command::ToWhom => Answer::Failed(TO_WHOM.into()),
            Command::To(name, text) => match (self.find(name).await, text) {
                (Err(trouble), _) => {
                    self.addressee = None;
                    Answer::Failed(trouble.to_string())
                }
                (Ok(None), _) => {
                    // What follows is not for whom was named before.
                    self.addressee = None;
                    Answer::Failed(format!(
                        "nobody is called {}; /who lists everybody",
                        escaped(name)
                    ))
                }
                (Ok(Some(id)), text) => {
                    self.addressee = Some((id, name.to_owned()));
                    return match text {
                        Some(text) => self.say(text).await,
                        None => Ok(Answer::Shown(String::new())),
                    };
                }
            },
        })
    }

    async fn say(&self, text: &str) -> anyhow::Result<Answer> {
        Ok(match (&self.addressee, crate::message::check_text(text)) {
            (None, _) => Answer::Failed(TO_WHOM.into()),
            (_, Err(refused)) => Answer::Failed(refused.0),
            (Some((to, _)), Ok(())) => {
                self.session.send(*to, text.to_owned()).await?;
                Answer::Shown(String::new())
            }
        })
    }

    /// By the list of all, which is asked for anew when a name is not in it.
    async fn find(&mut self, name: &str) -> Result<Option<ClientId>, Trouble> {
        if !self.known.contains_key(name) {
            let clients = self.who().await?;
            self.known = clients
                .into_iter()
                .map(|client| (client.name, client.id))
                .collect();
        }
        Ok(self.known.get(name).copied())
    }

    async fn who(&self) -> Result<Vec<Client>, Trouble> {
        let (log, mut clients) = (self.session.registered().log, Vec::<Client>::new());
        loop {
            let after = clients.last().map_or(ClientId(0), |last| last.id);
            let page = patiently(self.patience, async || {
                self.transport.clients(log, after).await
            })
            .await?;
            if page.is_empty() {
                return Ok(clients);
            }
            clients.extend(page);
        }
    }

    /// With what was typed before it.
    async fn sent(&self) -> Answer {
        if let Err(left) = self.all_written().await {
            return Answer::Failed(left);
        }
        let names = self.who().await.map(|clients| {
            clients
                .into_iter()
                .map(|client| (client.id, client.name))
                .collect()
        });
        shown(match (names, self.sent_messages().await) {
            (Ok(names), Ok(messages)) => Ok(sent(&messages, &names)),
            (Err(trouble), _) | (_, Err(trouble)) => Err(trouble),
        })
    }

    async fn sent_messages(&self) -> Result<Vec<Message>, Trouble> {
        let mut messages = Vec::new();
        loop {
            let (who, skip) = (self.session.registered(), messages.len() as u64);
            let page = patiently(self.patience, async || {
                self.transport.sent_by(who, skip).await
            })
            .await?;
            if page.is_empty() {
                return Ok(messages);
            }
            messages.extend(page);
        }
    }

    /// Whether the client has ended by itself, and has told why.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// Waits until everything that was typed is with the server.
    ///
    /// # Errors
    /// It took too long: a sentence about it.
    pub async fn all_written(&self) -> Result<(), String> {
        let waited = self.session.all_written(self.patience).await;
        waited.map_err(|left| format!("{left} of your messages are not with the server yet; they are kept in your folder, and sent when it can be reached"))
    }
}

fn shown(lines: Result<String, Trouble>) -> Answer {
    lines.map_or_else(|trouble| Answer::Failed(trouble.to_string()), Answer::Shown)
}

fn who(clients: &[Client]) -> String {
    let line = |client: &Client| {
        format!(
            "{:>4}  {:<32}  since {}",
            client.id,
            client.name,
            time(client.since_ms)
        )
    };
    clients.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn sent(messages: &[Message], names: &HashMap<ClientId, String>) -> String {
    let line = |message: &Message| {
        let to = names.get(&message.to).map_or("?", String::as_str);
        format!(
            "{} -> {to}: {}\n",
            time(message.at_ms),
            escaped(&message.text)
        )
    };
    let lines: String = messages.iter().map(line).collect();
    format!("{lines}{} sent", messages.len())
}

/// What a client is told of, as it is shown: whether it is a message or about the chat, and the line; none if it is not shown.
#[must_use]
pub fn told(event: &Event) -> Option<(bool, String)> {
    Some(match event {
        Event::Arrived(delivery) => {
            let message = &delivery.message;
            (
                true,
                format!(
                    "{} {}: {}",
                    clock(message.at_ms),
                    escaped(&delivery.from_name),
                    escaped(&message.text)
                ),
            )
        }
        Event::Missing(first, last) => (
            false,
            format!(
                "your messages {first} to {last} were lost on their way to you; the server's log.txt has them"
            ),
        ),
        Event::Refused(message, why) => (
            false,
            format!("not sent: {}: {why}", escaped(&message.text)),
        ),
        Event::Cut(place, why) => (
            false,
            format!("waiting for the server at {place}; what you write is kept ({why})"),
        ),
        Event::Back(place) => (false, format!("the server at {place} is back")),
        Event::Ended(why) => (false, format!("Error: {why}")),
        Event::Written(..) | Event::Again(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::message::Delivery;

    #[test]
    fn what_arrives_is_one_line_whatever_it_says_of_its_sender() {
        let message = Message {
            id: Uuid::nil(),
            from: ClientId(1),
            to: ClientId(2),
            at_ms: 0,
            text: "two\nlines".into(),
        };
        let delivery = Delivery {
            position: 1,
            from_name: "a\u{1b}[2J\nb".into(),
            message,
        };
        let (_, line) = told(&Event::Arrived(delivery)).unwrap();
        assert!(line.ends_with(" a\\u{1b}[2J\\nb: two\\nlines"), "{line}");
    }
}
