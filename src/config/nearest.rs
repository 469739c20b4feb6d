//! "Did you mean …?": the known word that is nearest to a mistyped one.

/// The nearest of `known` to `word`, if it is near enough to be what was meant.
pub(super) fn nearest<'known>(word: &str, known: impl IntoIterator<Item = &'known str>) -> Option<&'known str> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to say about a word that is not among the known ones.
pub(super) fn hint<'known>(word: &str, known: impl IntoIterator<Item = &'known str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(candidate) => format!("did you mean {candidate}?"),
        None => format!("known: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// How many letters must be put in, left out, changed or swapped with their neighbour (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut rows = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for (index, row) in rows.iter_mut().enumerate() {
        row[0] = index;
    }
    for (index, cell) in rows[0].iter_mut().enumerate() {
        *cell = index;
    }
    for down in 1..=left.len() {
        for across in 1..=right.len() {
            let changed = usize::from(left[down - 1] != right[across - 1]);
            let mut best =
                (rows[down - 1][across - 1] + changed).min(rows[down - 1][across] + 1).min(rows[down][across - 1] + 1);
            if down > 1 && across > 1 && left[down - 1] == right[across - 2] && left[down - 2] == right[across - 1] {
                best = best.min(rows[down - 2][across - 2] + 1);
            }
            rows[down][across] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["listeners", "admin", "sync", "pools"];
        let table = [
            ("listener", Some("listeners")),
            ("lsiteners", Some("listeners")),
            ("admni", Some("admin")),
            ("snyc", Some("sync")),
            ("metrics", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
