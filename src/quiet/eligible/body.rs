//! The body of a sliding sync in one form, so that the same wishes in another order are the same body.
//!
//! Clients say in it how far they have got with their to-device messages, which moves by itself: it is taken out, and
//! compared with what the kept answer told (reference: MSC4186, `extensions.to_device.since`). `txn_id` only names the
//! request.

use serde_json::Value;

use super::Unfit;

/// The longest body that is read. Pingora can send on no more than that after it was read.
pub const BYTES_MAX: usize = 65_536;

/// A body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Everything but what is compared by itself, its keys in order.
    pub canonical: Vec<u8>,
    /// How far the client has got with its to-device messages.
    pub to_device_since: Option<Box<str>>,
}

/// Reads a whole body.
///
/// # Errors
///
/// [`Unfit::OddBody`] where it is no JSON object, or has something whose form would not be one only.
pub fn read(body: &[u8]) -> Result<Body, Unfit> {
    if body.len() > BYTES_MAX {
        return Err(Unfit::OddBody);
    }
    let mut value: Value = serde_json::from_slice(body).map_err(|_| Unfit::OddBody)?;
    if has_fraction(&value) {
        return Err(Unfit::OddBody);
    }
    let object = value.as_object_mut().ok_or(Unfit::OddBody)?;
    object.remove("txn_id");
    let to_device = object.get_mut("extensions").and_then(|extensions| extensions.get_mut("to_device"));
    let since = to_device.and_then(Value::as_object_mut).and_then(|to_device| to_device.remove("since"));
    let to_device_since = match since {
        None | Some(Value::Null) => None,
        Some(Value::String(since)) => Some(since.into()),
        Some(_) => return Err(Unfit::OddBody),
    };
    let canonical = serde_json::to_vec(&value).map_err(|_| Unfit::OddBody)?;
    Ok(Body { canonical, to_device_since })
}

/// Whether a number has no exact form here: two of them could look the same.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(entries) => entries.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_wishes_have_the_same_form() {
        let plain = read(br#"{"lists":{"a":{"ranges":[[0,1]]}},"extensions":{"to_device":{"enabled":true}}}"#).unwrap();
        assert_eq!(plain.to_device_since, None);
        for same in [
            r#"{ "extensions": {"to_device": {"enabled": true}}, "lists": {"a": {"ranges": [[0, 1]]}} }"#,
            r#"{"txn_id":"1","lists":{"a":{"ranges":[[0,1]]}},"extensions":{"to_device":{"enabled":true}}}"#,
            r#"{"lists":{"a":{"ranges":[[0,1]]}},"extensions":{"to_device":{"since":null,"enabled":true}}}"#,
        ] {
            assert_eq!(read(same.as_bytes()).unwrap(), plain, "{same}");
        }
        let since = r#"{"lists":{"a":{"ranges":[[0,1]]}},"extensions":{"to_device":{"since":"7","enabled":true}}}"#;
        let since = read(since.as_bytes()).unwrap();
        assert_eq!((since.canonical, since.to_device_since.as_deref()), (plain.canonical.clone(), Some("7")));
        for other in [
            r#"{"lists":{"a":{"ranges":[[0,2]]}},"extensions":{"to_device":{"enabled":true}}}"#,
            r#"{"lists":{"a":{"ranges":[[0,1]]}},"extensions":{"to_device":{"enabled":true}},"conn_id":"e"}"#,
            r#"{"lists":{"a":{"ranges":[[0,1]],"txn_id":"1"}},"extensions":{"to_device":{"enabled":true}}}"#,
        ] {
            assert_ne!(read(other.as_bytes()).unwrap().canonical, plain.canonical, "{other}");
        }
    }

    #[test]
    fn what_is_odd_is_forwarded() {
        let deep = "[".repeat(10_000);
        let long = format!("\"{}\"", "x".repeat(BYTES_MAX));
        for odd in [
            "",
            "[]",
            "1",
            "{",
            r#"{"a":1.5}"#,
            r#"{"a":123456789012345678901234567890}"#,
            r#"{"extensions":{"to_device":{"since":7}}}"#,
            "{\"a\":NaN}",
            &deep,
            &long,
        ] {
            assert_eq!(read(odd.as_bytes()), Err(Unfit::OddBody), "{:?}", odd.get(..40));
        }
    }
}
