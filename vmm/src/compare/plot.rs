//! The picture of a comparison: one panel a run, one line a group, usage over time.

use std::path::Path;
use std::time::Duration;

use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::prelude::SVGBackend;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};

use super::record::{Run, Sample};

/// Size of a panel, in pixels.
const PANEL: (u32, u32) = (460, 240);
/// Pixels for the title.
const TITLE_HEIGHT: u32 = 34;
/// Panels beside each other.
const COLUMNS: usize = 2;
/// Colours of the groups, which are told apart without seeing red and green (Okabe and Ito 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
/// Pages in a MiB.
const MIB_PAGES: f64 = 256.0;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw: {0}")]
pub struct PlotError(String);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the runs into an SVG file.
///
/// # Errors
/// [`PlotError`] when the file cannot be written.
pub fn draw(path: &Path, title: &str, groups: &[String], runs: &[Run]) -> Result<(), PlotError> {
    let rows = runs.len().div_ceil(COLUMNS).max(1);
    let columns = runs.len().clamp(1, COLUMNS);
    let size = |count: usize, pixels: u32| pixels * u32::try_from(count).unwrap_or(1);
    let whole = (size(columns, PANEL.0), size(rows, PANEL.1) + TITLE_HEIGHT);
    let root = SVGBackend::new(path, whole).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let root = root.titled(title, ("sans-serif", 18)).map_err(failed)?;
    let scale = Scale::of(runs);
    for (panel, run) in root.split_evenly((rows, columns)).iter().zip(runs) {
        draw_run(panel, groups, run, &scale).map_err(failed)?;
    }
    root.present().map_err(failed)
}

/// What the axes of all panels reach to.
struct Scale {
    seconds: f64,
    mib: f64,
}

impl Scale {
    fn of(runs: &[Run]) -> Self {
        let samples = || runs.iter().flat_map(|run| &run.samples);
        let end = samples().map(|sample| sample.time).max().unwrap_or(Duration::ZERO);
        let usage = samples().flat_map(|sample| &sample.groups).map(|group| group.usage.get());
        let most = mib(usage.max().unwrap_or(0));
        Self { seconds: end.as_secs_f64().max(0.1), mib: (most * 1.1).max(1.0) }
    }
}

fn draw_run(
    panel: &Area<'_>,
    groups: &[String],
    run: &Run,
    scale: &Scale,
) -> Result<(), Box<dyn std::error::Error>> {
    let caption = ("sans-serif", 14).into_font();
    let mut chart = ChartBuilder::on(panel)
        .caption(&run.label, caption)
        .margin(8)
        .x_label_area_size(26)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..scale.seconds, 0.0..scale.mib)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .y_labels(6)
        .label_style(TextStyle::from(("sans-serif", 11)))
        .x_desc("seconds")
        .y_desc("MiB charged")
        .draw()
        .map_err(failed)?;
    // A line at each step, so that cause and effect are seen together.
    for step in &run.steps {
        let at = step.time.as_secs_f64();
        let line = PathElement::new(vec![(at, 0.0), (at, scale.mib)], BLACK.mix(0.15));
        chart.draw_series([line]).map_err(failed)?;
    }
    for (index, name) in groups.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = corners(&run.samples, index);
        let style = ShapeStyle::from(colour).stroke_width(2);
        let series = chart.draw_series(LineSeries::new(points, style)).map_err(failed)?;
        series.label(name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()
        .map_err(failed)?;
    Ok(())
}

/// The points of a group's line where it bends: what lies on a level stretch is left out.
fn corners(samples: &[Sample], index: usize) -> Vec<(f64, f64)> {
    let usage = |at: usize| samples.get(at)?.groups.get(index).map(|group| group.usage.get());
    let is_corner = |at: usize| {
        let here = usage(at);
        at == 0 || usage(at - 1) != here || usage(at + 1) != here
    };
    let point = |at: usize| Some((samples[at].time.as_secs_f64(), mib(usage(at)?)));
    (0..samples.len()).filter(|&at| is_corner(at)).filter_map(point).collect()
}

/// Pages in MiB, for a picture: exact up to 2^32 pages.
fn mib(pages: u64) -> f64 {
    f64::from(u32::try_from(pages).unwrap_or(u32::MAX)) / MIB_PAGES
}

fn failed(why: impl std::fmt::Display) -> PlotError {
    PlotError(why.to_string())
}

#[cfg(test)]
mod tests {
    use memcg::Pages;

    use super::*;
    use crate::compare::GroupUsage;

    fn sample(millis: u64, pages: u64) -> Sample {
        let group = GroupUsage { usage: Pages::new(pages), limit: Pages::UNLIMITED };
        Sample { time: Duration::from_millis(millis), groups: vec![group] }
    }

    #[test]
    fn a_picture_names_its_runs_and_groups() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("p.svg");
        let samples = vec![sample(0, 0), sample(10, 256), sample(20, 512)];
        let run = |label: &str| Run {
            label: label.into(),
            steps: Vec::new(),
            samples: samples.clone(),
            overshoot: Pages::ZERO,
            kills: 0,
        };
        let runs = [run("recharge=none"), run("recharge=lazy"), run("recharge=half")];
        draw(&path, "a <title>", &["A".into()], &runs).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["recharge=none", "recharge=half", "a &lt;title&gt;", "</svg>"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(draw(Path::new("/nowhere/p.svg"), "", &[], &runs).is_err());
    }

    #[test]
    fn level_stretches_have_two_points() {
        let pages = [5, 5, 5, 5, 9, 9, 9];
        let samples: Vec<_> = (0..7).zip(pages).map(|(at, pages)| sample(at, pages)).collect();
        let points = corners(&samples, 0);
        assert_eq!(points.len(), 4);
    }
}
