//! Finds the known name nearest to a misspelt one.

/// Maximum edit distance of a misspelling.
const EDITS_MAX: usize = 3;

/// Returns the known name nearest to `name`, unless none is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (edit_distance(name, known), known))
        .min()
        // A short name is not a misspelling of every other short one.
        .filter(|(edits, known)| *edits <= EDITS_MAX && *edits < known.len())
        .map(|(_, known)| known)
}

/// Levenshtein distance: the number of insertions, deletions and replacements between two texts.
fn edit_distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, byte_b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(byte_a != *byte_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_each_edit() {
        let cases = [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("listens", "listen", 1)];
        for (a, b, edits) in cases {
            assert_eq!(edit_distance(a, b), edits);
        }
    }

    #[test]
    fn nearest_name_is_found_unless_none_is_near() {
        let known = ["info", "debug", "listen"];
        assert_eq!(nearest("debgu", known), Some("debug"));
        assert_eq!(nearest("listens", known), Some("listen"));
        assert_eq!(nearest("frobnicate", known), None);
    }
}
