//! The pictures: how dendron compares in each scenario, latencies at a fixed rate, memory for a long-poll, what Synapse is
//! spared, and how cost grows.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::curves::Curves;
use super::markdown::Picture;
use super::table::number;
use crate::contenders::Name;
use crate::fault::{Outcome, wrong};
use crate::figures::{Figure, Measured};
use crate::scenarios::Done;

const WIDTH: u32 = 1_000;
const BAR: i32 = 18;
const GAP: i32 = 14;
/// The room for what a group of bars is called.
const LABELS: i32 = 420;
const TOP: i32 = 60;
const MARGIN: i32 = 90;

type Area<'file> = DrawingArea<SVGBackend<'file>, Shift>;

/// Bars that belong together.
struct Group {
    label: String,
    bars: Vec<(Name, f64)>,
}

/// How cost grows.
const CURVES: [(&str, Curves); 2] = [
    (
        "growth-cpu.svg",
        Curves {
            title: "Processor time for a request, against connections: less is better",
            figure: Figure::Cpu,
            along: "connections",
            is_logarithmic: true,
        },
    ),
    (
        "growth-memory.svg",
        Curves {
            title: "Memory of the process, against held long-polls: less is better",
            figure: Figure::Resident,
            along: "long-polls, forwarded",
            is_logarithmic: false,
        },
    ),
];

/// Draws what there is to draw; returns what was drawn.
pub(super) fn draw(folder: &Path, results: &[Done]) -> Outcome<Vec<Picture>> {
    let drawings = [
        ("cpu.svg", "Processor time beside HAProxy's, which is 1: less is better", beside_haproxy(results)),
        ("latency.svg", "Latency at a fixed rate, in microseconds: less is better", latencies(results)),
        ("memory.svg", "Memory for a held long-poll, in kilobytes: less is better", memory(results)),
        ("synapse.svg", "Processor time beside Synapse's alone, which is 1: less is better", beside_synapse(results)),
    ];
    let mut pictures = Vec::new();
    for (file, title, groups) in drawings {
        if groups.is_empty() {
            continue;
        }
        let path = folder.join(file);
        bars(&path, title, &groups).map_err(|error| wrong(format!("drawing {}: {error}", path.display())))?;
        pictures.push(Picture { file: file.to_owned(), shows: title.to_owned() });
    }
    for (file, curves) in CURVES {
        let path = folder.join(file);
        let failed = |error: Box<dyn std::error::Error>| wrong(format!("drawing {}: {error}", path.display()));
        if curves.draw(&path, results).map_err(failed)? {
            pictures.push(Picture { file: file.to_owned(), shows: curves.title.to_owned() });
        }
    }
    Ok(pictures)
}

/// Everything that is counted in processor time, as a share of HAProxy's.
fn beside_haproxy(results: &[Done]) -> Vec<Group> {
    let parts = results.iter().flat_map(Done::lettered);
    // Curves have a picture of their own.
    let parts = parts.filter(|(_, measured)| measured.size.is_none());
    let groups = parts.filter_map(|(letter, measured)| {
        let figure = [Figure::Cpu, Figure::CpuPerGigabyte, Figure::CpuPerPoll]
            .into_iter()
            .find(|figure| measured.median(Name::HAProxy, *figure).is_some())?;
        let whole = measured.median(Name::HAProxy, figure)?;
        let bars = Name::PROXIES.iter().filter_map(|name| Some((*name, good(measured, *name, figure)? / whole)));
        Some(Group { label: format!("({letter}) {}", measured.title), bars: bars.collect() })
    });
    groups.collect()
}

/// What dendron and Synapse take together, or Synapse behind dendron, as a share of what Synapse takes alone.
fn beside_synapse(results: &[Done]) -> Vec<Group> {
    let parts = results.iter().flat_map(Done::lettered);
    let groups = parts.filter_map(|(letter, measured)| {
        let figure = [Figure::Cpu, Figure::CpuPerLogin, Figure::CpuPerDevice]
            .into_iter()
            .find(|figure| measured.median(Name::Synapse, *figure).is_some())?;
        let whole = measured.median(Name::Synapse, figure)?;
        let names = [Name::Dendron, Name::Synapse];
        let bars = names.iter().filter_map(|name| Some((*name, good(measured, *name, figure)? / whole)));
        Some(Group { label: format!("({letter}) {}", measured.title), bars: bars.collect() })
    });
    groups.collect()
}

fn latencies(results: &[Done]) -> Vec<Group> {
    let mut parts = results.iter().flat_map(Done::parts);
    let Some(measured) = parts.rfind(|part| part.median(Name::Direct, Figure::Median).is_some()) else {
        return Vec::new();
    };
    let figures = [(Figure::Median, "p50"), (Figure::Percentile99, "p99"), (Figure::Percentile999, "p99.9")];
    let groups = figures.into_iter().map(|(figure, word)| {
        let mut names = Name::PROXIES.to_vec();
        names.push(Name::Direct);
        let bars = names.into_iter().filter_map(|name| Some((name, good(measured, name, figure)?)));
        Group { label: format!("{word}, {}", measured.title), bars: bars.collect() }
    });
    groups.collect()
}

fn memory(results: &[Done]) -> Vec<Group> {
    let parts = results.iter().flat_map(Done::parts);
    let groups =
        parts.filter(|part| part.median(Name::Dendron, Figure::MemoryPerConnection).is_some()).map(|measured| {
            let figure = Figure::MemoryPerConnection;
            let bars = Name::PROXIES.iter().filter_map(|name| Some((*name, good(measured, *name, figure)?)));
            Group { label: measured.title.clone(), bars: bars.collect() }
        });
    groups.collect()
}

/// A median of rounds without errors.
pub(super) fn good(measured: &Measured, name: Name, figure: Figure) -> Option<f64> {
    measured.median(name, figure).filter(|_| measured.errors_of(name) == 0)
}

fn bars(path: &Path, title: &str, groups: &[Group]) -> Result<(), Box<dyn std::error::Error>> {
    let count = |group: &Group| i32::try_from(group.bars.len()).unwrap_or_default();
    let height = TOP + groups.iter().map(|group| count(group) * BAR + GAP).sum::<i32>() + GAP;
    let area = SVGBackend::new(path, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw_text(title, &("sans-serif", 18).into_text_style(&area), (GAP, GAP))?;
    let greatest =
        groups.iter().flat_map(|group| &group.bars).map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(i32::try_from(WIDTH)? - LABELS - MARGIN);
    let mut top = TOP;
    for group in groups {
        let middle = top + count(group) * BAR / 2;
        write_at(&area, &group.label, (LABELS - 10, middle), HPos::Right)?;
        for (name, value) in &group.bars {
            #[expect(clippy::cast_possible_truncation, reason = "a width in pixels")]
            let width = (value / greatest * room) as i32;
            let corners = [(LABELS, top), (LABELS + width.max(1), top + BAR - 3)];
            area.draw(&Rectangle::new(corners, colour(*name).filled()))?;
            let text = format!("{} {}", number(*value), name.text());
            write_at(&area, &text, (LABELS + width + 6, top + BAR / 2 - 1), HPos::Left)?;
            top += BAR;
        }
        top += GAP;
    }
    area.present()?;
    Ok(())
}

fn write_at(area: &Area<'_>, text: &str, place: (i32, i32), side: HPos) -> Result<(), Box<dyn std::error::Error>> {
    let style = ("sans-serif", 12).into_text_style(area).pos(Pos::new(side, VPos::Center));
    Ok(area.draw_text(text, &style, place)?)
}

pub(super) fn colour(name: Name) -> RGBColor {
    match name {
        Name::Dendron => RGBColor(0x0b, 0x84, 0x6b),
        Name::HAProxy => RGBColor(0x5b, 0x7d, 0xb1),
        Name::Nginx => RGBColor(0x9f, 0xb4, 0xd0),
        Name::Direct | Name::Synapse | Name::Loop => RGBColor(0xc8, 0xc8, 0xc8),
    }
}
