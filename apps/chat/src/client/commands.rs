//! What a line says that somebody has typed: pure.

/// All of them, for /help.
pub const HELP: &str = "\
TEXT             send it to whom you have named last
/to NAME [TEXT]  name somebody, and send a text
/who             everybody who has registered
/sent            all that you have sent, as the server has it
/help            this list
/quit            end, when everything has reached the server (Ctrl-D too)
A newcomer joins by starting a client with another --name: chat client --name NAME";

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing to do.
    Nothing,
    /// This to whom was named last.
    Say(&'a str),
    /// Name somebody: nobody is named.
    ToWhom,
    /// Name somebody, and perhaps say this.
    To(&'a str, Option<&'a str>),
    /// Everybody.
    Who,
    /// What was sent.
    Sent,
    /// The list.
    Help,
    /// The end.
    Quit,
    /// Begins with a slash and is none.
    Unknown(&'a str),
}

impl<'a> Command<'a> {
    /// What `line` says. A text that begins with a slash is written with two.
    #[must_use]
    pub fn of(line: &'a str) -> Self {
        let Some(command) = line.strip_prefix('/') else {
            return match line.trim().is_empty() {
                true => Self::Nothing,
                false => Self::Say(line),
            };
        };
        if command.starts_with('/') {
            return Self::Say(command);
        }
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (word.trim_end(), rest.trim_start()) {
            ("to", "") => Self::ToWhom,
            ("to", rest) => match rest.split_once(' ') {
                Some((name, text)) if !text.trim().is_empty() => Self::To(name, Some(text)),
                _ => Self::To(rest.trim_end(), None),
            },
            ("who", "") => Self::Who,
            ("sent", "") => Self::Sent,
            ("help", "") => Self::Help,
            ("quit", "") => Self::Quit,
            _ => Self::Unknown(command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_text_or_one_command() {
        for (line, command) in [
            ("", Command::Nothing),
            ("  ", Command::Nothing),
            ("hello, you", Command::Say("hello, you")),
            ("//etc", Command::Say("/etc")),
            ("/to", Command::ToWhom),
            ("/to ", Command::ToWhom),
            ("/to ben", Command::To("ben", None)),
            ("/to ben ", Command::To("ben", None)),
            (
                "/to ben  two  words ",
                Command::To("ben", Some(" two  words ")),
            ),
            ("/who ", Command::Who),
            ("/sent", Command::Sent),
            ("/help", Command::Help),
            ("/quit", Command::Quit),
            ("/who there", Command::Unknown("who there")),
            ("/", Command::Unknown("")),
        ] {
            assert_eq!(Command::of(line), command, "{line:?}");
        }
    }
}
