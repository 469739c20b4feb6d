//! A request line, as far as the endpoint goes: `METHOD target`.
//!
//! On stable Rust: `RUSTC_BOOTSTRAP=1 cargo fuzz run classify --sanitizer none -- -dict=fuzz/classify.dict`.
#![no_main]

use std::sync::LazyLock;

use dendron::endpoint::segment::decoded;
use dendron::endpoint::{Class, Endpoints, Subject};
use http::Method;
use libfuzzer_sys::fuzz_target;

/// Built once: the tree is the same for every input.
static ENDPOINTS: LazyLock<Endpoints> = LazyLock::new(Endpoints::new);

fuzz_target!(|line: &str| {
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let endpoint = ENDPOINTS.classify(&method, path, query);

    if let Some(span) = endpoint.subject.span() {
        let text = path.get(span.start as usize..span.end as usize);
        assert!(text.is_some_and(|text| !text.is_empty() && !text.contains('/')), "{endpoint:?}");
    }
    assert!(endpoint.subject == Subject::None || endpoint.label.contains('{'), "{endpoint:?}");
    assert!(endpoint.label == "other" || endpoint.label.starts_with('/'), "{endpoint:?}");
    // However it is written: what Twisted would take for Synapse's own is never public.
    let mut segments = path.split('/').skip_while(|segment| segment.is_empty()).map(decoded);
    if path.starts_with('/') && segments.next().as_deref() == Some(b"_synapse") {
        let second = segments.next();
        let public = second.as_deref().is_some_and(|second| matches!(second, b"admin" | b"mas" | b"client"));
        assert_eq!(endpoint.class == Class::Private, !public, "{endpoint:?}");
    }
});
