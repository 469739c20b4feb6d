//! The PROXY protocol's header, versions 1 and 2: what a load balancer sends ahead of a connection's bytes to say whose
//! connection it is. Pure: bytes in, meaning out.
//!
//! Source: HAProxy's "The PROXY protocol", sections 2.1 to 2.3. Not here: the extensions of version 2 (TLV), which are
//! skipped, checksum included; and UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read. Version 1 ends by 107 bytes; version 2 could be 64 KiB, but with the extensions that
/// load balancers send it has some hundred.
pub const HEADER_BYTES_MAX: usize = 4096;

/// The longest header of version 1, its line's end included.
const V1_BYTES_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of what follows.
const V2_START_BYTES: usize = 16;
/// Addresses and ports of both ends.
const V2_IPV4_BYTES: usize = 12;
const V2_IPV6_BYTES: usize = 36;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is; `None` if it is the load balancer's own, or of a kind that has no IP address.
    pub client: Option<SocketAddr>,
    /// How many bytes the header has. The client's own bytes begin behind them.
    pub length: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They begin like neither version.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// They begin like one, and go on otherwise.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It is longer than anything that is read.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads the header at the beginning of `bytes`; `None` while more bytes are needed to tell.
///
/// # Errors
///
/// [`HeaderError`] as soon as it is certain that no good header can come of these bytes.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    if starts_alike(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else if starts_alike(bytes, V1_START) {
        parse_v1(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Whether one is the beginning of the other.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(HeaderError::TooLong) };
    };
    let line = std::str::from_utf8(&bytes[V1_START.len()..end]).map_err(|_| HeaderError::Malformed)?;
    let client = v1_client(line).ok_or(HeaderError::Malformed)?;
    Ok(Some(Header { client, length: end + 2 }))
}

/// What stands behind `PROXY `: the family, and both ends' addresses and ports. `None` if that is not so.
fn v1_client(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever else is in the line means nothing.
        return Some(None);
    }
    let addresses: [IpAddr; 2] = match family {
        "TCP4" => [words.next()?.parse::<Ipv4Addr>().ok()?.into(), words.next()?.parse::<Ipv4Addr>().ok()?.into()],
        "TCP6" => [words.next()?.parse::<Ipv6Addr>().ok()?.into(), words.next()?.parse::<Ipv6Addr>().ok()?.into()],
        _ => return None,
    };
    let [port, _] = [v1_port(words.next()?)?, v1_port(words.next()?)?];
    words.next().is_none().then(|| Some(SocketAddr::new(addresses[0], port)))
}

fn v1_port(word: &str) -> Option<u16> {
    // `parse` alone would take a sign.
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    // What is wrong is told from the first byte that says so: nobody waits for the rest.
    let is_local = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(HeaderError::Malformed),
    };
    let Some(start) = bytes.get(..V2_START_BYTES) else { return Ok(None) };
    let (kind, size) = (start[13], usize::from(u16::from_be_bytes([start[14], start[15]])));
    let length = V2_START_BYTES + size;
    if length > HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let (family, transport) = (kind >> 4, kind & 0xf);
    let least = match family {
        _ if is_local => 0,
        1 => V2_IPV4_BYTES,
        2 => V2_IPV6_BYTES,
        // Unspecified, and unix sockets.
        0 | 3 => 0,
        _ => return Err(HeaderError::Malformed),
    };
    if size < least || (!is_local && transport > 2) {
        return Err(HeaderError::Malformed);
    }
    let Some(body) = bytes.get(V2_START_BYTES..length) else { return Ok(None) };
    let client = if is_local { None } else { v2_client(kind, body) };
    Ok(Some(Header { client, length }))
}

/// The client of a TCP connection over IPv4 or IPv6: its address, the other end's, its port, the other end's.
fn v2_client(kind: u8, body: &[u8]) -> Option<SocketAddr> {
    match kind {
        0x11 => {
            let address = <[u8; 4]>::try_from(body.get(..4)?).ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(address).into(), port(body.get(8..10)?)?))
        }
        0x21 => {
            let address = <[u8; 16]>::try_from(body.get(..16)?).ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(address).into(), port(body.get(32..34)?)?))
        }
        _ => None,
    }
}

fn port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(<[u8; 2]>::try_from(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM_V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];

    /// A header of version 2 around these bytes.
    fn v2(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let size = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, kind], &size, body].concat()
    }

    fn from_v6() -> Vec<u8> {
        let client: Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&client.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0xdc, 0x04, 0x01, 0xbb]].concat()
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tlv = [&FROM_V4[..], &[0x03, 0, 4, 1, 2, 3, 4, 0x04, 0, 1, 0]].concat();
        let large = [&FROM_V4[..], &[0x04; HEADER_BYTES_MAX - V2_START_BYTES - 12]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(), Some("192.0.2.7:56324")),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), Some("255.255.255.255:65535")),
            (b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n".to_vec(), Some("[2001:db8::7]:56324")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &FROM_V4), Some("192.0.2.7:56324")),
            (v2(0x21, 0x21, &from_v6()), Some("[2001:db8::7]:56324")),
            (v2(0x21, 0x11, &tlv), Some("192.0.2.7:56324")),
            (v2(0x21, 0x11, &large), Some("192.0.2.7:56324")),
            // A health check of the load balancer's own, whatever else it says.
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &FROM_V4), None),
            (v2(0x20, 0xff, b"?"), None),
            // Unspecified, UDP, and a unix socket.
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x12, &FROM_V4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn a_good_header_names_the_client_and_its_own_end() {
        for (bytes, client) in good() {
            let expected = Header { client: client.map(|client| client.parse().unwrap()), length: bytes.len() };
            for rest in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\r\n"] {
                let all = [&bytes, rest].concat();
                assert_eq!(parse(&all), Ok(Some(expected)), "{}", all.escape_ascii());
            }
        }
    }

    #[test]
    fn a_part_of_a_good_header_is_waited_for() {
        for (bytes, _) in good() {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_one() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX));
        let too_large = [V2_SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let line = |line: &str| format!("PROXY {line}\r\n").into_bytes();
        let table: Vec<(Vec<u8>, HeaderError)> = vec![
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), HeaderError::Missing),
            (b"PROXX".to_vec(), HeaderError::Missing),
            (b"proxy TCP4".to_vec(), HeaderError::Missing),
            (b"\x16\x03\x01\x02\x00".to_vec(), HeaderError::Missing),
            (b"\r\n\r\nG".to_vec(), HeaderError::Missing),
            (long.into_bytes(), HeaderError::TooLong),
            (too_large, HeaderError::TooLong),
            (line(""), HeaderError::Malformed),
            (line("TCP5 192.0.2.7 10.0.0.1 1 2"), HeaderError::Malformed),
            (line("TCP4 192.0.2.7 10.0.0.1 1"), HeaderError::Malformed),
            (line("TCP4 192.0.2.7 10.0.0.1 1 2 3"), HeaderError::Malformed),
            (line("TCP4  192.0.2.7 10.0.0.1 1 2"), HeaderError::Malformed),
            (line("TCP4 192.0.2.7 10.0.0.1 1 65536"), HeaderError::Malformed),
            (line("TCP4 192.0.2.7 10.0.0.1 +1 2"), HeaderError::Malformed),
            (line("TCP4 192.0.2.7 10.0.0.1  2"), HeaderError::Malformed),
            (line("TCP4 192.0.2.07 10.0.0.1 1 2"), HeaderError::Malformed),
            (line("TCP4 ::1 ::1 1 2"), HeaderError::Malformed),
            (line("TCP6 192.0.2.7 10.0.0.1 1 2"), HeaderError::Malformed),
            (b"PROXY \xff\xff\r\n".to_vec(), HeaderError::Malformed),
            // Another version, an unknown command, an unknown family or transport, too few bytes for the family.
            (v2(0x11, 0x11, &FROM_V4), HeaderError::Malformed),
            (v2(0x22, 0x11, &FROM_V4), HeaderError::Malformed),
            (v2(0x21, 0x41, &FROM_V4), HeaderError::Malformed),
            (v2(0x21, 0x13, &FROM_V4), HeaderError::Malformed),
            (v2(0x21, 0x11, &FROM_V4[..11]), HeaderError::Malformed),
            (v2(0x21, 0x21, &FROM_V4), HeaderError::Malformed),
        ];
        for (bytes, expected) in table {
            assert_eq!(parse(&bytes), Err(expected), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_what_was_said(
            start in 0..4_usize,
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let starts: [&[u8]; 4] = [b"", V1_START, V2_SIGNATURE, b"PROXY TCP4 192.0.2.7 "];
            let bytes = [starts[start], &rest].concat();
            let mut said = None;
            for end in 0..=bytes.len() {
                let now = parse(&bytes[..end]);
                if let Ok(Some(header)) = now {
                    prop_assert!(header.length <= end && header.length <= HEADER_BYTES_MAX);
                }
                match said {
                    Some(said) => prop_assert_eq!(now, said),
                    None if now != Ok(None) => said = Some(now),
                    None => {}
                }
            }
        }
    }
}
