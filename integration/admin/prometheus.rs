//! A real Prometheus that scrapes one admin listener every second, and the numbers that a scrape shows.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::harness::alone::{Folder, free_port};
use crate::harness::child::Child;
use crate::harness::ensure;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;

/// How long Prometheus may take to start and to scrape for the first time.
const START: Duration = Duration::from_secs(60);

/// A running Prometheus. It ends with its owner.
pub struct Prometheus {
    // In this order: the process ends before its folder is removed.
    process: Child,
    client: Client,
    _folder: Folder,
}

/// What Prometheus knows of a metric without its numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Metadata {
    pub kind: String,
    pub help: String,
}

/// A series: the metric's name and its labels.
pub type Series = (String, BTreeMap<String, String>);

impl Prometheus {
    /// Starts it before an admin listener, and waits until it has scraped it.
    pub fn start(admin: &Client) -> Result<Self, Failed> {
        let target = admin.base().trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: dendron, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        let folder = Folder::with(&[("prometheus.yml", &config)])?;
        let port = free_port()?;
        let arguments = [
            format!("--config.file={}", folder.text("prometheus.yml")),
            format!("--storage.tsdb.path={}", folder.text("data")),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=warn".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = folder.path("output");
        let process = Child::start("prometheus", Path::new("/usr/bin/prometheus"), &arguments, &output)?;
        let client = Client::new(&format!("http://127.0.0.1:{port}"));
        let mut prometheus = Prometheus { process, client, _folder: folder };
        eventually(START, || match prometheus.target() {
            Ok(target) if target["health"] == "up" => Ok(()),
            Ok(target) => Err(format!("the target is {target}").into()),
            Err(reason) => {
                let reason = reason.message().unwrap_or_default().to_owned();
                let said = std::fs::read_to_string(&output).unwrap_or_default();
                Err(format!("{reason}; it runs: {}; it said: {said}", prometheus.process.is_running()).into())
            }
        })?;
        Ok(prometheus)
    }

    /// What it says of its only target.
    pub fn target(&self) -> Result<Value, Failed> {
        let found = self.ask("/api/v1/targets?state=active")?;
        Ok(found["activeTargets"].get(0).cloned().unwrap_or_default())
    }

    /// What it knows of each metric, by name.
    pub fn metadata(&self) -> Result<BTreeMap<String, Metadata>, Failed> {
        let found = self.ask("/api/v1/targets/metadata?match_target=%7Bjob%3D%22dendron%22%7D")?;
        let entries = found.as_array().ok_or("the metadata is no list")?;
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let metadata = |entry: &Value| Metadata { kind: text(entry, "type"), help: text(entry, "help") };
        Ok(entries.iter().map(|entry| (text(entry, "metric"), metadata(entry))).collect())
    }

    /// The numbers of a metric as last scraped, without the labels that Prometheus adds.
    pub fn numbers(&self, metric: &str) -> Result<BTreeMap<Series, f64>, Failed> {
        let found = self.ask(&format!("/api/v1/query?query={metric}"))?;
        let mut numbers = BTreeMap::new();
        for result in found["result"].as_array().ok_or("the result is no list")? {
            let labels = result["metric"].as_object().ok_or("a series without labels")?;
            let own = labels.iter().filter(|(name, _)| !["__name__", "job", "instance"].contains(&name.as_str()));
            let own = own.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
            let number: f64 = result["value"][1].as_str().unwrap_or_default().parse()?;
            numbers.insert((metric.to_owned(), own.collect()), number);
        }
        Ok(numbers)
    }

    fn ask(&self, target: &str) -> Result<Value, Failed> {
        let answer = self.client.get(target)?;
        let mut body = answer.json();
        ensure!(body["status"] == "success", "Prometheus: {target}: {} {}", answer.status, answer.text());
        Ok(body["data"].take())
    }
}

/// The numbers of a scrape, by series.
pub fn scrape(admin: &Client) -> Result<BTreeMap<Series, f64>, Failed> {
    let text = scrape_text(admin)?;
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.map(|line| sample(line).ok_or_else(|| format!("no sample: {line}").into())).collect()
}

/// A scrape as it is sent.
pub fn scrape_text(admin: &Client) -> Result<String, Failed> {
    let answer = admin.get("/metrics")?;
    ensure!(answer.status == 200, "/metrics: {} {}", answer.status, answer.text());
    Ok(answer.text())
}

/// The numbers once they stand still: a request is counted a moment after its answer was sent.
pub fn settled(admin: &Client, is_meant: impl Fn(&Series) -> bool) -> Result<BTreeMap<Series, f64>, Failed> {
    let mut last = BTreeMap::new();
    eventually(SOON, || {
        std::thread::sleep(Duration::from_millis(200));
        let mut numbers = scrape(admin)?;
        numbers.retain(|series, _| is_meant(series));
        let stands = numbers == last;
        last = numbers;
        if stands { Ok(()) } else { Err("the numbers still move".into()) }
    })?;
    Ok(last)
}

/// `name{label="value",…} number`. Dendron's labels hold nothing that has to be escaped.
fn sample(line: &str) -> Option<(Series, f64)> {
    let (series, number) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}')?.split("\",").filter(|label| !label.is_empty());
    let label = |text: &str| {
        let (name, value) = text.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    };
    Some(((name.to_owned(), labels.map(label).collect::<Option<_>>()?), number.parse().ok()?))
}

/// What `promtool check metrics` says of a scrape: nothing, if it is as it should be.
pub fn promtool(text: &str) -> Result<String, Failed> {
    let mut command = Command::new("/usr/bin/promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    process.stdin.take().ok_or("no standard input")?.write_all(text.as_bytes())?;
    let output = process.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => Ok(said),
        code => Ok(format!("exit code {code:?}: {said}")),
    }
}
