//! What a plain word of YAML means: by the rules of YAML 1.1, as PyYAML reads them for Synapse.
//!
//! YAML 1.2, which most newer libraries speak, differs where it hurts: there `on` is a text and `0660` is decimal.
//! The same rules hold for dendron.yaml, so that an administrator has to know only one.
//!
//! Source: PyYAML's `resolver.py` and `constructor.py` (`SafeLoader`). Left out: timestamps, which Synapse's settings
//! do not use and which stay texts here.

use serde_yaml::{Number, Value};

/// The value of an unquoted word.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = integer(text) {
        return number;
    }
    match float(text) {
        Some(number) => Value::Number(Number::from(number)),
        None => Value::String(text.to_owned()),
    }
}

/// The value of a word with an explicit tag of YAML's own, `!!str` for instance; `None` for a tag that does not fit.
pub(super) fn tagged(suffix: &str, text: &str) -> Option<Value> {
    let value = plain(text);
    match suffix {
        "str" | "binary" | "timestamp" | "value" => Some(Value::String(text.to_owned())),
        "null" => Some(Value::Null),
        "bool" => value.is_bool().then_some(value),
        "int" => (value.is_i64() || value.is_u64()).then_some(value),
        "float" => value.as_f64().map(|number| Value::Number(Number::from(number))),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        based(binary, 2)?
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        based(hexadecimal, 16)?
    } else if digits == "0" {
        0
    } else if let Some(octal) = digits.strip_prefix('0') {
        based(octal, 8)?
    } else if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    } else if digits.contains(':') {
        sexagesimal(digits)?
    } else {
        based(digits, 10)?
    };
    Some(Value::Number(match (negative, i64::try_from(magnitude)) {
        (true, Ok(magnitude)) => Number::from(-magnitude),
        (false, Ok(magnitude)) => Number::from(magnitude),
        (true, Err(_)) => Number::from(-(magnitude as f64)),
        (false, Err(_)) => Number::from(magnitude),
    }))
}

/// Digits of one base, with the underscores that YAML 1.1 allows among them.
fn based(digits: &str, base: u32) -> Option<u64> {
    if !digits.chars().all(|digit| digit == '_' || digit.is_digit(base)) {
        return None;
    }
    let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
    u64::from_str_radix(&digits, base).ok()
}

/// `1:30` is 90: YAML 1.1 counts hours, minutes and seconds in sixties.
fn sexagesimal(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let first = based(parts.next()?, 10)?;
    parts.try_fold(first, |sum, part| {
        let small = part.len() <= 2 && part.bytes().all(|digit| digit.is_ascii_digit());
        let part: u64 = part.parse().ok().filter(|part| small && *part < 60)?;
        sum.checked_mul(60)?.checked_add(part)
    })
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let starts_with_digit = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    let well_formed = digits(whole)
        && digits(fraction)
        && match whole {
            "" => starts_with_digit(fraction) && unsigned.len() == text.len(),
            whole => starts_with_digit(whole),
        };
    // An exponent needs its sign: YAML 1.1 takes 1.0e3 for a text.
    let exponent_well_formed = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['-', '+'])
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if !well_formed || !exponent_well_formed {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_synapse() {
        let text = |text: &str| Value::String(text.to_owned());
        let table = [
            ("yes", Value::Bool(true)),
            ("On", Value::Bool(true)),
            ("off", Value::Bool(false)),
            ("NO", Value::Bool(false)),
            ("y", text("y")),
            ("oN", text("oN")),
            ("", Value::Null),
            ("~", Value::Null),
            ("none", text("none")),
            ("0", Value::from(0)),
            ("8008", Value::from(8008)),
            ("-5", Value::from(-5)),
            ("+5", Value::from(5)),
            ("1_000", Value::from(1000)),
            ("0660", Value::from(432)),
            ("0o660", text("0o660")),
            ("0x1F", Value::from(31)),
            ("0b101", Value::from(5)),
            ("08", text("08")),
            ("1:30", Value::from(90)),
            ("1:61", text("1:61")),
            ("18446744073709551615", Value::from(u64::MAX)),
            ("0.17", Value::from(0.17)),
            ("5.", Value::from(5.0)),
            (".5", Value::from(0.5)),
            ("1.5e+3", Value::from(1500.0)),
            ("1e3", text("1e3")),
            ("1.5e3", text("1.5e3")),
            ("-.inf", Value::from(f64::NEG_INFINITY)),
            ("50M", text("50M")),
            ("127.0.0.1", text("127.0.0.1")),
            ("127.0.0.1:8080", text("127.0.0.1:8080")),
            ("::1", text("::1")),
            ("-", text("-")),
            (".", text(".")),
        ];
        for (word, expected) in table {
            assert_eq!(plain(word), expected, "{word}");
        }
    }

    #[test]
    fn a_tag_overrules_the_look() {
        assert_eq!(tagged("str", "yes"), Some(Value::String("yes".to_owned())));
        assert_eq!(tagged("int", "12"), Some(Value::from(12)));
        assert_eq!(tagged("int", "twelve"), None);
        assert_eq!(tagged("bool", "no"), Some(Value::Bool(false)));
        assert_eq!(tagged("python/name", "x"), None);
    }
}
