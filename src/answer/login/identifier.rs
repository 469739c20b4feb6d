//! Who logs in: the identifier of a login, in its present form and in the older ones (`validate_login` and
//! `convert_client_dict_legacy_fields_to_identifier` in Synapse's `handlers/auth.py`).

use serde_json::{Map, Value};

use super::reasons::Reason;
use super::reply::Refusal;

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// A user, by the whole user id, as the client spelled it.
    User(String),
    /// Whoever has this e-mail address, in the form in which Synapse stores addresses.
    Email(String),
}

/// Why a login is not one that can be answered by looking at a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Synapse refuses it.
    Refuse(Refusal),
    /// Synapse shall answer it.
    Decline(Reason),
}

/// Finds the identifier among the members of a login. The older forms at the top level win over `identifier`.
pub fn identifier(fields: &Map<String, Value>, server_name: &str) -> Result<Identifier, Other> {
    if let (Some(medium), Some(address)) = (truthy(fields.get("medium")), truthy(fields.get("address"))) {
        return third_party(medium, address);
    }
    if let Some(user) = truthy(fields.get("user")) {
        return user_id(user, server_name);
    }
    let identifier = match truthy(fields.get("identifier")) {
        None => return Err(Refusal::NoIdentifier.into()),
        Some(Value::Object(identifier)) => identifier,
        Some(_) => return Err(Reason::SurprisingType.into()),
    };
    let kind = match identifier.get("type") {
        None => return Err(Refusal::IdentifierWithoutType.into()),
        Some(Value::String(kind)) => kind.as_str(),
        Some(_) => return Err(Reason::SurprisingType.into()),
    };
    match kind {
        "m.id.user" => match truthy(identifier.get("user")) {
            Some(user) => user_id(user, server_name),
            None => Err(Refusal::NoUser.into()),
        },
        "m.id.thirdparty" => match (given(identifier, "medium"), given(identifier, "address")) {
            (Some(medium), Some(address)) => third_party(medium, address),
            _ => Err(Refusal::BadThirdParty.into()),
        },
        "m.id.phone" => {
            let number = identifier.contains_key("phone") || identifier.contains_key("number");
            let whole = number && identifier.contains_key("country");
            Err(if whole { Reason::Phone.into() } else { Refusal::BadPhone.into() })
        }
        _ => Err(Refusal::UnknownIdentifierType.into()),
    }
}

/// What Python takes for true.
fn truthy(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        // A number that is too small for a float is zero for Python, too.
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
    })
}

/// What is there and not `null`.
fn given<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

/// The user id that Synapse makes of `user`: a whole one is taken as it is, everything else is a localpart.
fn user_id(user: &Value, server_name: &str) -> Result<Identifier, Other> {
    let Value::String(user) = user else {
        return Err(Reason::SurprisingType.into());
    };
    if user.contains('\0') {
        return Err(Reason::Nul.into());
    }
    if !user.starts_with('@') {
        return Ok(Identifier::User(format!("@{user}:{server_name}")));
    }
    let domain = user.split_once(':').map(|(_, domain)| domain);
    if domain != Some(server_name) {
        return Err(Reason::ForeignUser.into());
    }
    Ok(Identifier::User(user.clone()))
}

/// A third-party identifier: only e-mail addresses in ASCII, whose canonical form does not hang on Unicode's tables
/// (`canonicalise_email` in Synapse's `util/threepids.py`).
fn third_party(medium: &Value, address: &Value) -> Result<Identifier, Other> {
    let (Value::String(medium), Value::String(address)) = (medium, address) else {
        return Err(Reason::SurprisingType.into());
    };
    if medium != "email" {
        return Err(Reason::OtherThirdParty.into());
    }
    if !address.is_ascii() {
        return Err(Reason::ForeignEmail.into());
    }
    if address.contains('\0') {
        return Err(Reason::Nul.into());
    }
    let address = address.trim_matches(is_python_space);
    if address.bytes().filter(|byte| *byte == b'@').count() != 1 {
        return Err(Refusal::BadEmail.into());
    }
    Ok(Identifier::Email(address.to_ascii_lowercase()))
}

/// What Python's `str.strip` takes off, within ASCII.
fn is_python_space(character: char) -> bool {
    matches!(character, '\t'..='\r' | '\u{1c}'..=' ')
}

impl From<Refusal> for Other {
    fn from(refusal: Refusal) -> Other {
        Other::Refuse(refusal)
    }
}

impl From<Reason> for Other {
    fn from(reason: Reason) -> Other {
        Other::Decline(reason)
    }
}
