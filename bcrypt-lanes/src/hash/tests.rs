//! Published hashes, and spellings as the crate `bcrypt` decides them.

use bcrypt::HashParts;

use super::*;

/// The test vectors of crypt_blowfish, of jBCrypt and of the crate: passwords and their hashes.
fn published() -> Vec<(Vec<u8>, &'static str)> {
    let long = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored";
    vec![
        (b"U*U".to_vec(), "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (b"U*U*".to_vec(), "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        (b"U*U*U".to_vec(), "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
        (b"".to_vec(), "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
        (long.to_vec(), "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"),
        (b"\xa3".to_vec(), "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
        (b"\xa3".to_vec(), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"),
        (b"\xff\xff\xa3".to_vec(), "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"),
        ([[0xaa; 72].as_slice(), b"more"].concat(), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6"),
        (b"\xaa\x55".repeat(36), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.R9xrDjiycxMbQE2bp.vgqlYpW5wx2yy"),
        (b"\x55\xaa\xff".repeat(24), "$2a$05$/OK.fbVrR/bpIqNJ5ianF.9tQZzcJfm3uj2NvJ/n5xkhpqLrMpWCe"),
        (b"".to_vec(), "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        (b"".to_vec(), "$2a$08$HqWuK6/Ng6sg9gQzbLrgb.Tl.ZHfXLhvt/SgVyWhQqgqcZ7ZuUtye"),
        (b"a".to_vec(), "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        (b"abc".to_vec(), "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        (b"abcdefghijklmnopqrstuvwxyz".to_vec(), "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
        (
            b"~!@#$%^&*()      ~!@#$%^&*()PNBFRD".to_vec(),
            "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
        ),
    ]
}

/// Whether the crate would read it, would write it in the same way, and would compute it; the versions mean the same to
/// it, but one of them is left to others here.
fn is_usual(text: &str) -> bool {
    let Ok(parts) = text.parse::<HashParts>() else { return false };
    let same = parts.to_string()[3..] == text[3..];
    same && (4..=31).contains(&parts.get_cost()) && !text.starts_with("$2x$")
}

#[test]
fn published_hashes_are_those_of_their_passwords() {
    for (password, text) in published() {
        let hash = Hash::parse(text).unwrap();
        assert!(hash.verify(&password), "{text}");
        let mut wrong = password.clone();
        match wrong.first_mut() {
            Some(first) => *first ^= 1,
            None => wrong.push(b'x'),
        }
        assert!(!hash.verify(&wrong), "{text}");
    }
}

#[test]
fn a_wrong_last_bit_is_wrong() {
    let (password, text) = published().remove(0);
    let mut hash = Hash::parse(text).unwrap();
    for bit in 0..8 {
        for place in [0, DIGEST_BYTES - 1] {
            hash.digest[place] ^= 1 << bit;
            assert!(!hash.verify(&password), "bit {bit} of byte {place}");
            hash.digest[place] ^= 1 << bit;
        }
    }
    assert!(hash.verify(&password));
}

#[test]
fn spellings_are_decided_as_the_crate_decides() {
    let (_, good) = published().remove(0);
    let (mut usual, mut unusual) = (0, 0);
    // Every character at every place: among them all bits that belong to no byte, at the ends of salt and hash.
    for place in 0..good.len() {
        for byte in 0..128_u8 {
            let text = format!("{}{}{}", &good[..place], char::from(byte), &good[place + 1..]);
            assert_eq!(Hash::parse(&text).is_ok(), is_usual(&text), "{text:?}");
            *(if is_usual(&text) { &mut usual } else { &mut unusual }) += 1;
        }
    }
    // Three versions, costs x5 and 0x, 64 characters at all places but the ends of salt and hash, which have room for four
    // and two bits less; at the other four places only what is there.
    assert_eq!((usual, unusual), (3 + 3 + 6 + 51 * 64 + 4 + 16 + 4, 60 * 128 - 3300));
    let odd = [
        String::new(),
        "$2a$05$".into(),
        good[..59].into(),
        format!("{good}."),
        format!("{good}\n"),
        good.replace("$05$", "$5$"),
        good.replace("$05$C", "$005$"),
        good.replace("$05$", "$+5$"),
        good.replace("$05$", "$99$"),
        good.replace("CC", "é"),
    ];
    for text in odd {
        assert_eq!(Hash::parse(&text), Err(NotAHash), "{text:?}");
        assert!(!is_usual(&text), "{text:?}");
    }
}

#[test]
fn costs_are_those_that_there_are() {
    let (_, good) = published().remove(0);
    for cost in 0..100 {
        let hash = Hash::parse(&good.replace("$05$", &format!("${cost:02}$")));
        assert_eq!(hash.map(|hash| hash.cost()).ok(), (4..=31).contains(&cost).then_some(cost));
    }
    assert_eq!([0, 4, 12, 31, 99].map(|cost| Hash::decoy(cost).cost()), [4, 4, 12, 31, 31]);
}

#[test]
fn a_hash_is_not_shown() {
    let (_, good) = published().remove(0);
    assert_eq!(format!("{:?}", Hash::parse(good).unwrap()), "Hash(cost 5)");
}
