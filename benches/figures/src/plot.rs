//! Curves: as a plot, and as a table.

use std::{fmt::Write as _, path::Path};

use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, ValueFormatter},
    },
    prelude::*,
};

const SIZE: (u32, u32) = (720, 420);
/// Of Okabe and Ito (2008): told apart by everybody.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// How the axes grow.
#[derive(Clone, Copy)]
pub enum Axes {
    /// Both by factors.
    Factors,
    /// What is varied by factors, what is measured evenly, from zero.
    Levels,
    /// Both evenly, from zero: over time, say.
    Even,
}

/// Lines over the same values.
pub struct Curve {
    /// What it shows.
    pub title: &'static str,
    /// What is varied.
    pub over: &'static str,
    /// What is measured.
    pub unit: &'static str,
    /// How both grow.
    pub axes: Axes,
    /// In the order of the legend.
    pub lines: Vec<Line>,
}

/// One of them.
pub struct Line {
    /// As the legend has it.
    pub name: String,
    /// What is varied, and what was measured there.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// One without points yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            points: Vec::new(),
        }
    }
}

/// Draws `curve` as SVG into `file`.
///
/// # Errors
/// The file cannot be written.
pub fn draw(curve: &Curve, file: &Path) -> anyhow::Result<()> {
    let points = || curve.lines.iter().flat_map(|line| line.points.iter());
    let bounds = |values: &dyn Fn(&(f64, f64)) -> f64| {
        let values = points().map(values);
        values.fold((f64::MAX, f64::MIN), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let (x, y) = (bounds(&|p| p.0), bounds(&|p| p.1));
    let (wide, high) = (x.0 * 0.9..x.1 * 1.1, y.0 * 0.8..y.1 * 1.3);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    match curve.axes {
        Axes::Factors => draw_on(curve, &area, wide.log_scale(), high.log_scale())?,
        Axes::Levels => draw_on(curve, &area, wide.log_scale(), 0.0..high.end)?,
        Axes::Even => draw_on(curve, &area, 0.0..x.1, 0.0..high.end)?,
    }
    area.present()?;
    Ok(())
}

fn draw_on<'a, X, Y>(
    curve: &Curve,
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    x: X,
    y: Y,
) -> anyhow::Result<()>
where
    X: AsRangedCoord<Value = f64, CoordDescType: ValueFormatter<f64>>,
    Y: AsRangedCoord<Value = f64, CoordDescType: ValueFormatter<f64>>,
    SVGBackend<'a>: DrawingBackend<ErrorType: 'static>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(curve.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(curve.over)
        .y_desc(curve.unit)
        .x_label_formatter(&|v| number(*v))
        .y_label_formatter(&|v| number(*v))
        .draw()?;
    for (line, colour) in curve.lines.iter().zip(COLOURS.into_iter().cycle()) {
        let points = line.points.iter().copied();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    Ok(())
}

/// Whole, or with as many decimals as a small one needs to mean something.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 10.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What the file of a curve is called: its title in words.
#[must_use]
pub fn file_name(curve: &Curve) -> String {
    let words = curve.title.split(|c: char| !c.is_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!("{}.svg", words.join("-"))
}

/// A curve's points, a line for each.
#[must_use]
pub fn numbers(curve: &Curve) -> String {
    let mut table = format!("| {} |", curve.over);
    for line in &curve.lines {
        _ = write!(table, " {}, {} |", line.name, curve.unit);
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(curve.lines.len()));
    table.push('\n');
    let first = curve.lines.first().map_or(&[][..], |line| &line.points);
    for (n, (x, _)) in first.iter().enumerate() {
        _ = write!(table, "| {} |", number(*x));
        for line in &curve.lines {
            let y = line.points.get(n).map_or(f64::NAN, |point| point.1);
            _ = write!(table, " {} |", number(y));
        }
        table.push('\n');
    }
    table
}
