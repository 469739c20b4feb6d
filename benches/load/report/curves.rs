//! Curves of what was measured for several sizes: how cost grows.

use std::path::Path;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::charts::{colour, good};
use crate::contenders::Name;
use crate::figures::{Figure, Measured};
use crate::scenarios::Done;

const SIZE: (u32, u32) = (1_000, 420);

/// What a picture of curves shows.
pub(super) struct Curves {
    pub(super) title: &'static str,
    pub(super) figure: Figure,
    /// What there is more and more of.
    pub(super) along: &'static str,
    /// Whether sizes stand at equal distances when one is a multiple of the other.
    pub(super) is_logarithmic: bool,
}

type Chart<'file, X> = ChartContext<'file, SVGBackend<'file>, Cartesian2d<X, RangedCoordf64>>;

/// A contender's points: a size, and what was measured for it.
type Curve = (Name, Vec<(f64, f64)>);

impl Curves {
    /// Draws them; whether there was anything to draw.
    pub(super) fn draw(&self, path: &Path, results: &[Done]) -> Result<bool, Box<dyn std::error::Error>> {
        let parts = results.iter().flat_map(Done::parts);
        let parts: Vec<&Measured> = parts.filter(|part| part.size.is_some()).collect();
        let curve = |name: Name| -> Curve {
            let points = parts.iter().filter_map(|part| Some((part.size?, good(part, name, self.figure)?)));
            (name, points.collect())
        };
        let curves: Vec<Curve> = Name::PROXIES.into_iter().map(curve).collect();
        if curves.iter().all(|(_, points)| points.len() < 2) {
            return Ok(false);
        }
        let points = curves.iter().flat_map(|(_, points)| points);
        let greatest = points.fold((0.0_f64, 0.0_f64), |most, point| (most.0.max(point.0), most.1.max(point.1)));
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(&area);
        builder.caption(self.title, ("sans-serif", 18)).margin(14).x_label_area_size(40).y_label_area_size(60);
        let height = 0.0..greatest.1 * 1.1;
        if self.is_logarithmic {
            self.lines(&curves, &mut builder.build_cartesian_2d((50.0..greatest.0 * 1.1).log_scale(), height)?)?;
        } else {
            self.lines(&curves, &mut builder.build_cartesian_2d(0.0..greatest.0 * 1.02, height)?)?;
        }
        area.present()?;
        Ok(true)
    }

    fn lines<'file, X>(&self, curves: &[Curve], chart: &mut Chart<'file, X>) -> Result<(), Box<dyn std::error::Error>>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let whole = |value: &f64| format!("{value:.0}");
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(7).x_label_formatter(&whole).y_label_formatter(&whole).light_line_style(WHITE);
        mesh.x_desc(self.along).y_desc(self.figure.text()).draw()?;
        for (name, points) in curves {
            let name = *name;
            let line = LineSeries::new(points.clone(), colour(name).stroke_width(2)).point_size(3);
            chart.draw_series(line)?.label(name.text()).legend(move |(x, y)| key(x, y, name));
        }
        chart.configure_series_labels().background_style(WHITE).position(SeriesLabelPosition::UpperLeft).draw()?;
        Ok(())
    }
}

/// A short line in a contender's colour.
fn key(x: i32, y: i32, name: Name) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 20, y)], colour(name).stroke_width(2))
}
