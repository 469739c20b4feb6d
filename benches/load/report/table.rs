//! A scenario's numbers as lines of a table: one for each kind of number, with a column for each contender, and the
//! ratios of dendron's to the others'. Pure.

use std::fmt::Write;

use crate::contenders::Name;
use crate::figures::{Figure, Measured, Ratio};

/// A table in Markdown, which a terminal shows as well.
pub(crate) fn table(measured: &Measured) -> String {
    let mut names: Vec<Name> = Name::PROXIES.to_vec();
    names.extend([Name::Synapse, Name::Loop, Name::Direct]);
    names.retain(|name| measured.series.iter().any(|series| series.name == *name));
    let others: Vec<Name> = names.iter().copied().filter(|name| is_other(*name)).collect();
    let mut lines = vec![heading(&names, &others)];
    lines.push(vec!["---".to_owned(); lines[0].len()]);
    for figure in measured.figures() {
        let mut line = vec![figure.text().to_owned()];
        line.extend(names.iter().map(|name| cell(measured, *name, figure)));
        line.extend(others.iter().map(|other| compared(measured.ratio(Name::Dendron, *other, figure))));
        lines.push(line);
    }
    if !measured.errors.iter().all(|(_, count)| *count == 0) {
        let mut line = vec!["errors".to_owned()];
        line.extend(names.iter().map(|name| measured.errors_of(*name).to_string()));
        line.resize(lines[0].len(), String::new());
        lines.push(line);
    }
    aligned(&lines)
}

fn heading(names: &[Name], others: &[Name]) -> Vec<String> {
    let mut heading = vec![String::new()];
    heading.extend(names.iter().map(|name| name.text().to_owned()));
    heading.extend(others.iter().map(|other| format!("dendron / {}", other.text())));
    heading
}

fn is_other(name: Name) -> bool {
    !matches!(name, Name::Dendron | Name::Direct)
}

/// A median; struck out where there were errors.
fn cell(measured: &Measured, name: Name, figure: Figure) -> String {
    let Some(median) = measured.median(name, figure) else { return String::new() };
    let number = number(median);
    if measured.errors_of(name) > 0 { format!("~~{number}~~") } else { number }
}

fn compared(ratio: Option<Ratio>) -> String {
    let text = |ratio: Ratio| format!("**{:.2}** ({:.2}–{:.2})", ratio.of_medians, ratio.least, ratio.greatest);
    ratio.map(text).unwrap_or_default()
}

/// A number with the digits that say something.
pub(crate) fn number(value: f64) -> String {
    let digits = if value.abs() < 10.0 {
        2
    } else if value.abs() < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$}")
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (cell, width) in line.iter().zip(&widths) {
            let padding = width - cell.chars().count();
            let filling = if cell == "---" { "-" } else { " " };
            let _ = write!(text, "| {cell}{} ", filling.repeat(padding));
        }
        text.push_str("|\n");
    }
    text
}
