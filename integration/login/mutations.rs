//! Bodies that nobody has thought of, drawn from a fixed seed: members of good and bad logins with values of every
//! kind, and the bytes of such bodies changed here and there.

use super::cases::Case;

/// How many are made.
pub const COUNT: usize = 400;
/// Where the drawing begins: another number makes another table.
const SEED: u64 = 0x1069_0001;

/// The names of members, those that Synapse looks for and some more.
const NAMES: [&str; 13] = [
    "type",
    "identifier",
    "password",
    "user",
    "medium",
    "address",
    "device_id",
    "initial_device_display_name",
    "refresh_token",
    "token",
    "country",
    "number",
    "other",
];

/// Values, most of them for some member.
const VALUES: [&str; 34] = [
    r#""m.login.password""#,
    r#""m.login.password""#,
    r#""m.login.token""#,
    r#""m.id.user""#,
    r#""m.id.thirdparty""#,
    r#""m.id.phone""#,
    r#""l-plain""#,
    r#""@l-plain:localhost""#,
    r#""L-Upper""#,
    r#""l-locked""#,
    r#""l-nobody""#,
    r#""hush-plain""#,
    r#""hush-upper""#,
    r#""email""#,
    r#""plain@example.org""#,
    r#""PLAIN@example.org""#,
    r#""GB""#,
    r#""MUTANT""#,
    r#""""#,
    r#"" ""#,
    r#""\u0000""#,
    r#""\ud800""#,
    r#""äö🦊""#,
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1.5e3",
    "[]",
    r#"["l-plain"]"#,
    "{}",
    r#"{"type":"m.id.user","user":"l-plain"}"#,
    r#"{"type":"m.id.thirdparty","medium":"email","address":"plain@example.org"}"#,
];

/// Bytes that mean something in JSON, and some that never do.
const BYTES: &[u8] = b"\"\\{}[]:,0 truefalsn-.eE\x00\xff\xc3\x1f";

/// A good login, by members.
const GOOD: [(&str, &str); 4] = [
    ("type", r#""m.login.password""#),
    ("identifier", r#"{"type":"m.id.user","user":"l-plain"}"#),
    ("password", r#""hush-plain""#),
    ("device_id", r#""MUTANT""#),
];

/// All of them, the same ones every time.
pub fn mutations() -> Vec<Case> {
    let mut draw = Draw(SEED);
    (0..COUNT).map(|_| Case::new(&mutant(&mut draw), None, None)).collect()
}

fn mutant(draw: &mut Draw) -> Vec<u8> {
    let mut members: Vec<(String, String)> =
        GOOD.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for _ in 0..draw.below(4) {
        let (name, value) = (draw.one_of(&NAMES).to_owned(), draw.one_of(&VALUES).to_owned());
        match draw.below(4) {
            0 => members.push((name, value)),
            1 => {
                let place = draw.below(members.len());
                members[place].1 = value;
            }
            2 if members.len() > 1 => drop(members.remove(draw.below(members.len()))),
            _ => {
                let place = draw.below(members.len());
                members[place].1 = format!(r#"{{"type":{value},"{name}":{}}}"#, draw.one_of(&VALUES));
            }
        }
    }
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let mut body = format!("{{{}}}", members.join(",")).into_bytes();
    // One body in three is then damaged.
    if draw.below(3) == 0 {
        for _ in 0..=draw.below(3) {
            let (place, byte) = (draw.below(body.len()), BYTES[draw.below(BYTES.len())]);
            match draw.below(4) {
                0 => body[place] = byte,
                1 => body.insert(place, byte),
                2 if body.len() > 2 => drop(body.remove(place)),
                _ if body.len() > 2 => body.truncate(place.max(1)),
                _ => {}
            }
        }
    }
    body
}

/// Numbers that look drawn and are always the same (SplitMix64, by Sebastiano Vigna, in the public domain).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or_default()
    }

    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}
