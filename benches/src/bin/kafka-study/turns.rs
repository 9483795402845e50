//! Sides that take turns, and the values that come of it.

use benches::stats::spread;

/// What was measured: lines over the same values of what is varied.
pub(crate) struct Turns<const N: usize> {
    pub(crate) sides: Vec<Side<N>>,
}

/// One point of one line.
pub(crate) struct Side<const N: usize> {
    pub(crate) line: &'static str,
    pub(crate) over: u64,
    /// Of each thing measured, a value for each round.
    pub(crate) values: [Vec<f64>; N],
}

impl<const N: usize> Side<N> {
    /// The median of one of the things measured.
    pub(crate) fn median(&self, column: usize) -> f64 {
        spread(&self.values[column])[1]
    }
}

impl<const N: usize> Turns<N> {
    /// So many of the things measured, from the one with this number on.
    pub(crate) fn part<const M: usize>(&self, from: usize) -> Turns<M> {
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

/// Measures every line at every value once in each round: whatever slows the machine down for a while, slows all of
/// them down.
pub(crate) async fn in_turns<L: Copy, const N: usize>(
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
