//! The body of a login.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run login_body --sanitizer none -- -dict=fuzz/login_body.dict`.
#![no_main]

use dendron::answer::login::identifier::Identifier;
use dendron::answer::login::password::Pepper;
use dendron::answer::login::request::{Outcome, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let reading = read(body, "example.org");
    assert_eq!(read(body, "example.org"), reading);
    if let Outcome::Attempt(attempt) = reading.outcome {
        assert!(reading.counted);
        assert!(!attempt.password.has_nul());
        assert_ne!(attempt.device_id.as_deref(), Some(""));
        match &attempt.identifier {
            Identifier::User(user) => {
                assert!(user.starts_with('@') && user.ends_with(":example.org") && !user.contains('\0'), "{user}");
            }
            Identifier::Email(address) => {
                assert!(address.is_ascii() && address.matches('@').count() == 1 && !address.contains('\0'), "{address}");
            }
        }
        attempt.password.prepare(&Pepper::new("pepper"));
        let text = std::str::from_utf8(body).expect("an attempt is UTF-8");
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).expect("an attempt is JSON");
        assert_eq!(object["type"], "m.login.password");
        assert!(object["password"].is_string());
    }
});
