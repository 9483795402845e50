//! What may have been meant.

/// "did you mean …?", or the list of what there is.
pub(in crate::config) fn one_of(written: &str, known: &[&str]) -> String {
    did_you_mean(written, known.iter().copied()).unwrap_or_else(|| match known {
        [] => "none is known here".to_owned(),
        known => format!("known here: {}", known.join(", ")),
    })
}

/// "did you mean …?", if something known is near enough to be meant.
pub(in crate::config) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let near = written.chars().count().max(3) / 3;
    let (distance, meant) = known
        .into_iter()
        .map(|candidate| {
            (
                distance(&written.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= near).then(|| format!("did you mean \"{meant}\"?"))
}

/// Levenshtein's: how many characters must be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
