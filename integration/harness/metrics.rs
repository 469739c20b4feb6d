//! dendron's metrics, as one scrape shows them.

use libtest_mimic::Failed;

use super::http::Client;
use super::matrix::expect_ok;

/// Every sample of one scrape.
pub struct Metrics(Vec<Sample>);

struct Sample {
    name: String,
    /// Name and value. No value that dendron gives has a quote or a comma in it.
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Scrapes an admin listener.
    pub fn scrape(admin: &Client) -> Result<Self, Failed> {
        let answer = admin.get("/metrics")?;
        expect_ok(&answer, "/metrics")?;
        let text = answer.text();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples: Option<Vec<Sample>> = samples.map(Sample::read).collect();
        Ok(Metrics(samples.ok_or_else(|| format!("metrics that cannot be read:\n{text}"))?))
    }

    /// The sum of all samples of this name that have these labels, among others.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The sums of all samples of this name that have these labels, for each value of one more label.
    pub fn by(&self, name: &str, labels: &[(&str, &str)], label: &str) -> Vec<(String, f64)> {
        let values = self.matching(name, labels).filter_map(|sample| sample.label(label));
        let mut values: Vec<String> = values.map(str::to_owned).collect();
        values.sort();
        values.dedup();
        let sum = |value: &str| self.sum(name, &[labels, &[(label, value)]].concat());
        values.into_iter().map(|value| (value.clone(), sum(&value))).collect()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        let has_all = |sample: &Sample| labels.iter().all(|(label, value)| sample.label(label) == Some(value));
        self.0.iter().filter(move |sample| sample.name == name && has_all(sample))
    }
}

impl Sample {
    /// A line such as `name{label="value"} 1`.
    fn read(line: &str) -> Option<Self> {
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
        let labels = labels.strip_suffix('}')?.split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        });
        Some(Sample { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
