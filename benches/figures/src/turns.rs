//! Sides that take turns, and the values that come of it.

use crate::stats::spread;

/// What was measured: lines over the same values of what is varied.
pub struct Turns<const N: usize> {
    /// In the order of lines, then of what is varied.
    pub sides: Vec<Side<N>>,
}

/// One point of one line.
pub struct Side<const N: usize> {
    /// As tables and legends have it.
    pub line: &'static str,
    /// What is varied.
    pub over: u64,
    /// Of each thing measured, a value for each round.
    pub values: [Vec<f64>; N],
}

impl<const N: usize> Side<N> {
    /// The median of one of the things measured.
    #[must_use]
    pub fn median(&self, column: usize) -> f64 {
        spread(&self.values[column])[1]
    }
}

impl<const N: usize> Turns<N> {
    /// So many of the things measured, from the one with this number on.
    #[must_use]
    pub fn part<const M: usize>(&self, from: usize) -> Turns<M> {
        let side = |side: &Side<N>| Side {
            line: side.line,
            over: side.over,
            values: std::array::from_fn(|n| side.values[from + n].clone()),
        };
        Turns {
            sides: self.sides.iter().map(side).collect(),
        }
    }
}

/// The same lines over the values of all of `parts`, each of which was measured for itself.
#[must_use]
pub fn joined<const N: usize>(parts: Vec<Turns<N>>) -> Turns<N> {
    let lines: Vec<_> = match parts.first() {
        Some(part) => part.sides.iter().map(|side| side.line).collect(),
        None => Vec::new(),
    };
    let mut sides: Vec<_> = parts.into_iter().flat_map(|part| part.sides).collect();
    // Stable: what is varied keeps its order.
    sides.sort_by_key(|side| lines.iter().position(|line| *line == side.line));
    Turns { sides }
}

/// Measures every line at every value once in each round: whatever slows the machine down for a while, slows all of
/// them down.
pub async fn in_turns<L: Copy, const N: usize>(
    rounds: usize,
    lines: &[(&'static str, L)],
    over: &[u64],
    mut measure: impl AsyncFnMut(L, u64) -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<Turns<N>> {
    let side = |line, over| Side {
        line,
        over,
        values: [const { Vec::new() }; N],
    };
    let points = lines
        .iter()
        .flat_map(|line| over.iter().map(move |over| (line, *over)));
    let points: Vec<_> = points.collect();
    let mut sides: Vec<_> = points
        .iter()
        .map(|(line, over)| side(line.0, *over))
        .collect();
    for _ in 0..rounds {
        for ((line, over), side) in points.iter().zip(&mut sides) {
            for (values, value) in side.values.iter_mut().zip(measure(line.1, *over).await?) {
                values.push(value);
            }
        }
    }
    Ok(Turns { sides })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_line_by_line() {
        let part = |over| Turns {
            sides: ["b", "a"]
                .map(|line| Side {
                    line,
                    over,
                    values: [vec![1.0]],
                })
                .into(),
        };
        let joined = joined(vec![part(1), part(10)]);
        let order: Vec<_> = joined.sides.iter().map(|s| (s.line, s.over)).collect();
        assert_eq!(order, [("b", 1), ("b", 10), ("a", 1), ("a", 10)]);
    }
}
