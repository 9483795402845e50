//! A watermark on its way, step by step, wherever somebody else may have moved it meanwhile.

use aguacero::{
    config::Stream,
    ledger::{Position, Settled},
};

use super::{Failure, Settler, memory::Memory};
use crate::{archive::Totals, metric};

/// A watermark to be moved.
pub(super) struct Advance<'a> {
    pub(super) stream: &'a Stream,
    pub(super) position: &'a Position,
    /// Where it is thought to be.
    pub(super) from: Option<i64>,
    pub(super) to: i64,
    /// What is known beyond the place where this process left it.
    pub(super) memory: Option<Memory<'a>>,
    /// The highest place where somebody else had moved it.
    pub(super) found: Option<i64>,
    /// Where a call should have moved it whose answer was lost.
    pub(super) tried: Option<i64>,
}

impl Settler {
    /// Moves the watermark step by step until it is at `to` or beyond.
    pub(super) async fn advance(&self, advance: &mut Advance<'_>) -> Result<(), Failure> {
        while advance.from.is_none_or(|from| from < advance.to) {
            let (totals, origin) = match advance.remembered() {
                Some(totals) => (totals, "memory"),
                None => {
                    let totals = self.archive.totals(
                        advance.stream,
                        advance.position,
                        advance.from,
                        advance.to,
                    );
                    (totals.await?, "archive")
                }
            };
            let tried = advance.tried.replace(totals.to);
            match self
                .redis
                .settle(advance.stream, advance.position, advance.from, &totals)
                .await?
            {
                Settled::Done => {
                    metrics::counter!(metric::SETTLED, "from" => origin).increment(1);
                    advance.from = Some(totals.to);
                }
                Settled::Found(at) if at.is_some() && at == tried => advance.from = at,
                Settled::Found(at) => {
                    advance.from = at;
                    advance.found = advance.found.max(at);
                }
            }
            advance.tried = None;
        }
        Ok(())
    }
}

impl Advance<'_> {
    fn remembered(&self) -> Option<Totals> {
        let deltas = self
            .memory
            .as_ref()?
            .deltas(self.stream, self.from?, self.to)?;
        Some(Totals {
            to: self.to,
            deltas,
        })
    }
}
