//! What PostgreSQL has against an event, and which event it is about.

use deadpool_postgres::Transaction;
use tokio_postgres::{Error, error::SqlState};

use super::{Apply, event::Event};
use crate::batch::Source;

/// Codes outside the classes of data (22) and constraints (23) that are about the values of a row: an index entry that is
/// too large, what a trigger raises, a row that a statement would change twice, an encoding that there is not.
const OF_A_ROW: [SqlState; 4] = [
    SqlState::PROGRAM_LIMIT_EXCEEDED,
    SqlState::RAISE_EXCEPTION,
    SqlState::CARDINALITY_VIOLATION,
    SqlState::UNTRANSLATABLE_CHARACTER,
];

/// Classes of codes of a server that is going, or coming, or full: of connections, of resources, of operators.
const AWAY: [&str; 3] = ["08", "53", "57"];

/// Whether the error is about the data of a row. Every other may pass: the server is away, somebody locks, a right or a
/// column is missing.
#[must_use]
pub fn is_refusal(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        code.code().starts_with("22") || code.code().starts_with("23") || OF_A_ROW.contains(code)
    })
}

/// What PostgreSQL says, as an error for people.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL: {what}")]
pub struct Said {
    what: String,
    /// It says nothing of what was asked: the connection has ended, it sends everybody home, or has no room.
    pub is_away: bool,
}

impl From<Error> for Said {
    fn from(error: Error) -> Self {
        let is_away = error.code().is_none_or(|code| {
            let class = code.code().get(..2);
            class.is_some_and(|class| AWAY.contains(&class))
        });
        Self {
            what: told(&error),
            is_away,
        }
    }
}

/// What PostgreSQL says, with its detail and where.
#[must_use]
pub fn told(error: &Error) -> String {
    let Some(said) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
    };
    let mut text = format!("{} ({})", said.message(), said.code().code());
    for (name, value) in [
        ("column", said.column()),
        ("constraint", said.constraint()),
        ("detail", said.detail()),
    ] {
        if let Some(value) = value {
            text += &format!("; {name}: {value}");
        }
    }
    text
}

/// Applies `events`. Those that PostgreSQL refuses are narrowed down by halves: positions in `events`, and why. An error is
/// none of an event.
pub(super) async fn apply_or_narrow<A: Apply>(
    apply: &A,
    transaction: &mut Transaction<'_>,
    source: &Source,
    events: &[&Event],
) -> Result<Vec<(usize, String)>, Error> {
    let mut refused = Vec::new();
    // From and to of what is still to be applied, the first one last.
    let mut left = vec![(0, events.len())];
    while let Some((from, to)) = left.pop() {
        let range = from..to;
        if range.is_empty() {
            continue;
        }
        let savepoint = transaction.transaction().await?;
        let error = match apply
            .apply(&savepoint, source, &events[range.clone()])
            .await
        {
            Ok(()) => {
                savepoint.commit().await?;
                continue;
            }
            Err(error) => error,
        };
        if !is_refusal(&error) {
            return Err(error);
        }
        savepoint.rollback().await?;
        if range.len() == 1 {
            refused.push((range.start, told(&error)));
            continue;
        }
        let middle = range.start + range.len() / 2;
        left.push((middle, range.end));
        left.push((range.start, middle));
    }
    Ok(refused)
}
