//! What came of it, as a text and two charts in `benches/reports/lanes/`.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use plotters::prelude::*;

use crate::{Goal, Point, Ratios};

/// All that was found.
pub(crate) struct Report {
    /// How many lanes the measurement at the start chooses.
    pub(crate) lanes: usize,
    pub(crate) ratios: Vec<Ratios>,
    pub(crate) mixed: f64,
    pub(crate) chart: Vec<Point>,
    pub(crate) goals: Vec<Goal>,
}

/// A picture with two lines.
struct Chart<'a> {
    file: &'a str,
    title: &'a str,
    /// By how many wait.
    lanes: Vec<f64>,
    one_by_one: Vec<f64>,
}

const SIZE: (u32, u32) = (760, 380);
const LANES: RGBColor = RGBColor(0x0b, 0x84, 0x6b);
const ONE_BY_ONE: RGBColor = RGBColor(0x5b, 0x7d, 0xb1);

// === impl Report ===

impl Report {
    pub(crate) fn write(&self) -> Result<(), Box<dyn Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/reports/lanes");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("README.md"), self.text()?)?;
        let rate = self.crate_rate();
        let one_after_the_other = |waiting: f64| waiting / rate;
        let charts = [
            Chart {
                file: "rate.svg",
                title: "Checks a second of one core, by how many wait (cost 12)",
                lanes: self.chart.iter().map(|point| point.rate).collect(),
                one_by_one: vec![rate; self.chart.len()],
            },
            Chart {
                file: "latency.svg",
                title: "Seconds until one is checked, by how many wait (cost 12)",
                lanes: self.chart.iter().map(|point| point.seconds).collect(),
                one_by_one: self.chart.iter().map(|point| one_after_the_other(point.waiting as f64)).collect(),
            },
        ];
        charts.iter().try_for_each(|chart| chart.draw(&folder))
    }

    /// Checks a second of the crate at the cost of the charts.
    fn crate_rate(&self) -> f64 {
        self.ratios.last().map_or(f64::NAN, |ratios| ratios.crate_rate)
    }

    fn text(&self) -> Result<String, Box<dyn Error>> {
        let mut text = String::from("# Lanes against the crate `bcrypt`, on one core\n\n");
        writeln!(text, "`cargo bench --bench lanes`, {}\n", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))?;
        writeln!(text, "- commit {}", commit())?;
        writeln!(text, "- {}, {}", processor(), said("uname", &["-sr"]))?;
        writeln!(text, "- {}; {}", said("rustc", &["--version"]), versions())?;
        writeln!(text, "- the measurement at the start chooses {} lanes; four are used below\n", self.lanes)?;
        writeln!(text, "The crate is built at its best optimisation level, 2. Ratios are medians of rounds in which")?;
        writeln!(text, "both were measured one right after the other.\n")?;
        writeln!(text, "| goal | measured | should be | |\n| --- | --- | --- | --- |")?;
        for goal in &self.goals {
            let verdict = if goal.is_reached() { "reached" } else { "**missed**" };
            writeln!(text, "| {} | {:.3} | {} | {verdict} |", goal.what, goal.measured, goal.bound.text())?;
        }
        let columns = self.ratios.first().map_or(0, |ratios| ratios.ratios.len());
        let heads: String = (1..=columns).map(|waiting| format!(" {waiting} |")).collect();
        writeln!(text, "\nTimes the crate's checks a second, by how many wait:\n")?;
        writeln!(text, "| cost | the crate |{heads}\n| --- | --- |{}", " --- |".repeat(columns))?;
        for Ratios { cost, crate_rate, ratios } in &self.ratios {
            let cells: String = ratios.iter().map(|ratio| format!(" {ratio:.2} |")).collect();
            writeln!(text, "| {cost} | {crate_rate:.2}/s |{cells}")?;
        }
        writeln!(text, "\nCosts mixed from 5 to 10, the last lane alone at the end: {:.2}.\n", self.mixed)?;
        writeln!(text, "At cost 12, while the same number waits all the time:\n")?;
        writeln!(text, "| waiting | checks a second | seconds until one is checked | one by one |")?;
        writeln!(text, "| --- | --- | --- | --- |")?;
        for Point { waiting, rate, seconds } in &self.chart {
            let one_by_one = *waiting as f64 / self.crate_rate();
            writeln!(text, "| {waiting} | {rate:.2} | {seconds:.3} | {one_by_one:.3} |")?;
        }
        writeln!(text, "\nOne by one is reckoned from the crate's checks a second, first come, first served.\n")?;
        writeln!(text, "![Checks a second](rate.svg)\n\n![Seconds until one is checked](latency.svg)")?;
        Ok(text)
    }
}

// === impl Chart ===

impl Chart<'_> {
    fn draw(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let path: PathBuf = folder.join(self.file);
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let greatest = self.lanes.iter().chain(&self.one_by_one).copied().fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(1..self.lanes.len(), 0.0..greatest * 1.05)?;
        chart.configure_mesh().x_desc("waiting").x_labels(self.lanes.len()).light_line_style(WHITE).draw()?;
        let lines = [("in lanes", LANES, &self.lanes), ("one by one", ONE_BY_ONE, &self.one_by_one)];
        for (name, colour, values) in lines {
            let points = (1..).zip(values.iter().copied());
            let style = colour.stroke_width(3);
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(WHITE)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

fn commit() -> String {
    let commit = said("git", &["log", "-1", "--format=%h of %cs"]);
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no", "../bcrypt-lanes"]).is_empty();
    if changed { format!("{commit}, with changes") } else { commit }
}

/// The crates that it depends on, as `Cargo.lock` has them.
fn versions() -> String {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap_or_default();
    let version = |name: &str| {
        let (_, behind) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        behind.split('"').next().map(|version| format!("{name} {version}"))
    };
    ["bcrypt", "blowfish"].into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim_start_matches([' ', '\t', ':'])
    };
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{count} cores of {} (family {}, model {})", of("model name"), of("cpu family"), of("model\t"))
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned()
}
