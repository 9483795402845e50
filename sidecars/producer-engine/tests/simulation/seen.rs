//! How often what matters has happened: a simulation in which it does not proves nothing.

macro_rules! seen {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Something that has to happen in some histories.
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Seen {
            $($(#[$doc])* $name),*
        }

        const ALL: &[Seen] = &[$(Seen::$name),*];
    };
}

seen!(
    Stored,
    NotStored,
    TooLarge,
    Unknown,
    Appended,
    /// A request whose connection the client has given up already.
    AppendedLate,
    HasAlready,
    OutOfOrder,
    InvalidProducerEpoch,
    ProducerForgotten,
    /// The leader has ceased to be one while a batch waited.
    NotLeaderAfterAppend,
    TimedOut,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    /// What a leader had appended is gone.
    Truncated,
    UnknownTopicId,
    MessageTooLarge,
    InvalidRecord,
    SecondProducerId,
    MadeAgain,
    Moved,
    NotAnswered,
    QueueFull,
    SeveralInFlight,
);

#[derive(Default)]
pub(crate) struct Tally([u64; ALL.len()]);

impl Tally {
    pub(crate) fn count(&mut self, what: Seen) {
        self.0[what as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        for (all, one) in self.0.iter_mut().zip(other.0) {
            *all += one;
        }
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<Seen> {
        let missing = ALL.iter().filter(|what| self.0[**what as usize] == 0);
        missing.copied().collect()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for what in ALL {
            writeln!(f, "{:>10} {what:?}", self.0[*what as usize])?;
        }
        Ok(())
    }
}
