//! The characters whose normal form hangs on how old a Python is.
//!
//! Unicode never changes the normal form of a text of assigned characters, but a Python that does not know a character
//! yet leaves it alone. Synapse runs on Python 3.10 (Unicode 13) and everything newer, so a password that holds one of the
//! characters which came later, and which normalization changes or moves, cannot be hashed for certain.

/// The characters of Unicode 14 to 18 that decompose, compose or have a combining class, as ranges, in order.
const RANGES: [(u32, u32); 58] = [
    (0x558, 0x558),
    (0x58b, 0x58c),
    (0x5c8, 0x5c9),
    (0x897, 0x89f),
    (0x8ca, 0x8d2),
    (0xc3c, 0xc3c),
    (0x1715, 0x1715),
    (0x1ac1, 0x1af0),
    (0x1dfa, 0x1dfa),
    (0x209d, 0x209f),
    (0xa7f1, 0xa7f4),
    (0x105c9, 0x105c9),
    (0x105d2, 0x105d2),
    (0x105da, 0x105da),
    (0x105e4, 0x105e4),
    (0x10781, 0x10785),
    (0x10787, 0x107b0),
    (0x107b2, 0x107bf),
    (0x10d69, 0x10d6d),
    (0x10ecb, 0x10ecf),
    (0x10ef0, 0x10efb),
    (0x10efd, 0x10eff),
    (0x10f82, 0x10f85),
    (0x11070, 0x11070),
    (0x11382, 0x11385),
    (0x1138b, 0x1138b),
    (0x1138e, 0x1138e),
    (0x11390, 0x11391),
    (0x113b8, 0x113b8),
    (0x113bb, 0x113bb),
    (0x113c2, 0x113c2),
    (0x113c5, 0x113c5),
    (0x113c7, 0x113c9),
    (0x113ce, 0x113d0),
    (0x11f41, 0x11f42),
    (0x1611e, 0x16129),
    (0x1612f, 0x1612f),
    (0x16d63, 0x16d63),
    (0x16d67, 0x16d6a),
    (0x1b123, 0x1b126),
    (0x1ccd6, 0x1ccf9),
    (0x1d127, 0x1d128),
    (0x1d250, 0x1d252),
    (0x1d25b, 0x1d25c),
    (0x1d25f, 0x1d25f),
    (0x1d280, 0x1d281),
    (0x1d6a6, 0x1d6a6),
    (0x1df95, 0x1df95),
    (0x1dfcd, 0x1dfff),
    (0x1e030, 0x1e06d),
    (0x1e08f, 0x1e08f),
    (0x1e2ae, 0x1e2ae),
    (0x1e4ec, 0x1e4ef),
    (0x1e5ee, 0x1e5ef),
    (0x1e6e3, 0x1e6e3),
    (0x1e6e6, 0x1e6e6),
    (0x1e6ee, 0x1e6ef),
    (0x1e6f5, 0x1e6f5),
];

/// Whether some Python that Synapse runs on normalizes `character` in another way than the newest.
pub(super) fn is_new(character: char) -> bool {
    let character = u32::from(character);
    let after = RANGES.partition_point(|(first, _)| *first <= character);
    after.checked_sub(1).is_some_and(|index| character <= RANGES[index].1)
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn the_ranges_are_in_order_and_apart() {
        assert!(RANGES.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(RANGES.iter().all(|(first, last)| first <= last));
    }

    #[test]
    fn only_new_characters_are_new() {
        for old in ['\0', 'a', 'ä', '\u{301}', 'ﬁ', '한', '\u{1d15e}', '😀', '\u{10ffff}', '\u{557}', '\u{559}'] {
            assert!(!is_new(old), "{old:?}");
        }
        // U+10781 and U+1CCD6 are of Unicode 14 and 16, and have normal forms of their own.
        for new in ['\u{10781}', '\u{1ccd6}', '\u{1e030}'] {
            assert!(is_new(new), "{new:?}");
            assert_ne!(new.to_string().nfkc().collect::<String>(), new.to_string());
        }
        // A base that existing marks compose with only since Unicode 16.
        assert!(is_new('\u{105d2}'));
    }
}
