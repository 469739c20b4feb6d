//! A dendron whose processes are all dead: every failure is counted once.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use serde_json::json;

use super::prometheus::{Series, promtool, scrape, scrape_text, settled};
use super::{add, difference, is_count};
use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// A dendron whose two main processes do not exist, with a certificate: what a healthy stack never shows.
pub fn failures_are_counted(_: &Stacks) -> Result<(), Failed> {
    // 2031-05-06, 0:00 UTC.
    const EXPIRY: f64 = 1_935_792_000.0;
    let mut certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    certificate.not_after = rcgen::date_time_ymd(2031, 5, 6);
    let key = rcgen::KeyPair::generate()?;
    let [plain, tls, admin, first, second] = [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
    let config = format!(
        "listeners:\n- address: 127.0.0.1:{plain}\n- address: 127.0.0.1:{tls}\n  \
         tls: {{certificate: chain.pem, key: key.pem}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
         pools: {{main: ['http://127.0.0.1:{first}', 'http://127.0.0.1:{second}']}}\n"
    );
    let chain = certificate.self_signed(&key)?.pem();
    let files = [("dendron.yaml", config.as_str()), ("chain.pem", &chain), ("key.pem", &key.serialize_pem())];
    let folder = Folder::with(&files)?;
    let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
    let ready = dendron.admin().get("/ready")?;
    let missing = "pool main has no healthy process\n".to_owned();
    ensure_eq!((ready.status, ready.text()), (503, missing), "/ready");

    for _ in 0..3 {
        let answer = Client::new(&format!("http://127.0.0.1:{plain}")).get("/_matrix/client/versions")?;
        ensure_eq!((answer.status, &answer.json()["errcode"]), (502, &json!("M_UNKNOWN")), "{}", answer.text());
    }
    let counts = settled(dendron.admin(), is_count)?;
    let mut expected = BTreeMap::new();
    let labels = [("class", "client_read"), ("method", "GET"), ("code", "502"), ("answered_by", "edge")];
    add(&mut expected, "dendron_requests_total", &labels, 3.0);
    // Each request was sent on once: from the first process to the second, and then there is nobody left.
    add(&mut expected, "dendron_upstream_retries_total", &[("pool", "main")], 3.0);
    for process in [first, second] {
        let name = format!("127.0.0.1:{process}");
        add(&mut expected, "dendron_process_requests_total", &[("process", name.as_str())], 3.0);
    }
    // Each request failed at both, so both were due with the third; which was first is not said, and the last stays.
    let (ejections, mut totals) = counts.into_iter().partition(|((name, _), _)| name.contains("_ejections_"));
    let ejections: BTreeMap<Series, f64> = ejections;
    ensure_eq!((ejections.len(), ejections.values().sum()), (2, 1.0), "ejections: {ejections:?}");
    totals.retain(|(name, _), count| name.ends_with("_total") && *count > 0.0);
    ensure!(totals == expected, "{}", difference(&expected, &totals));

    let mut expiry = BTreeMap::new();
    let listener = format!("127.0.0.1:{tls}");
    add(&mut expiry, "dendron_certificate_expiry_timestamp_seconds", &[("listener", listener.as_str())], EXPIRY);
    let mut found = scrape(dendron.admin())?;
    found.retain(|(name, _), _| name.starts_with("dendron_certificate"));
    ensure!(found == expiry, "{}", difference(&expiry, &found));
    eventually(SOON, || {
        let mut found = scrape(dendron.admin())?;
        found.retain(|(name, _), _| name == "dendron_process_healthy");
        let unhealthy = found.len() == 2 && found.values().all(|healthy| *healthy == 0.0);
        ensure!(unhealthy, "two dead processes count as {found:?}");
        Ok(())
    })?;
    ensure_eq!(promtool(&scrape_text(dendron.admin())?)?, "", "what promtool says");
    dendron.stop().map(drop)
}
