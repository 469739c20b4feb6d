//! Blowfish's initial tables, as the build script computes them.

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

/// The subkeys before any key.
pub(crate) const fn subkeys() -> &'static [u32; 18] {
    &SUBKEYS
}

/// The substitution boxes before any key.
pub(crate) const fn boxes() -> &'static [[u32; 256]; 4] {
    &BOXES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pi begins 3.243F6A88 85A308D3 in hexadecimal; the other words are those of Schneier's description of Blowfish.
    #[test]
    fn the_tables_are_the_published_ones() {
        assert_eq!(subkeys()[..4], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]);
        assert_eq!(subkeys()[17], 0x8979_fb1b);
        let corners = boxes().map(|words| (words[0], words[255]));
        let published = [
            (0xd131_0ba6, 0x6e85_076a),
            (0x4b7a_70e9, 0xdb83_adf7),
            (0xe93d_5a68, 0x406000e0),
            (0x3a39_ce37, 0x3ac3_72e6),
        ];
        assert_eq!(corners, published);
    }
}
