//! The picture of `cargo xtask bench avail`: what a command costs, and how long it takes.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{
    Color, DrawingArea, IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle, SVGBackend,
    Text, TextStyle, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

const INK: RGBColor = RGBColor(0x1b, 0x24, 0x30);
const SOFT: RGBColor = RGBColor(0x5b, 0x67, 0x76);
const OURS: RGBColor = RGBColor(0x24, 0x63, 0xc5);
const BARE: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);

const WIDTH: i32 = 1_000;
const ROW: i32 = 34;
const HEAD: i32 = 54;
/// Where bars begin, and how long the longest is.
const LEFT: i32 = 300;
const BAR: i32 = 560;

/// A bar: its name, least, typical and most, and its colour.
struct Row {
    name: String,
    values: [f64; 3],
    colour: RGBColor,
}

/// Bars of one unit.
struct Panel {
    title: &'static str,
    unit: &'static str,
    rows: Vec<Row>,
}

impl Panel {
    fn height(&self) -> i32 {
        HEAD + ROW * self.rows.len() as i32
    }
}

/// Draws the results of the benchmark as an SVG.
pub(crate) fn avail(detail: &Value, path: &Path) -> anyhow::Result<()> {
    let panels = [costs(detail)?, latencies(detail)?];
    let height: i32 = panels.iter().map(Panel::height).sum::<i32>() + 16;
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let mut top = 0;
    for panel in &panels {
        draw(&area, panel, top)?;
        top += panel.height();
    }
    area.present().map_err(failed).with_context(|| format!("write {}", path.display()))
}

fn costs(detail: &Value) -> anyhow::Result<Panel> {
    let bars = [
        ("/ours/cpu_us", "bellhop, exactly once", OURS),
        ("/alo/cpu_us", "bellhop, at least once", OURS),
        ("/p2/cpu_us", "bare loop, the same bytes out", BARE),
        ("/p1/cpu_us", "bare loop, 1:1", BARE),
    ];
    let title = "CPU of a command on one core: median, least to most of the rounds";
    Ok(Panel { title, unit: "µs", rows: rows(detail, &bars, ["min", "median", "max"])? })
}

fn latencies(detail: &Value) -> anyhow::Result<Panel> {
    let bars = [
        ("/latency_ms/ours_10", "bellhop, 10 commands/s", OURS),
        ("/latency_ms/ours_1000", "bellhop, 1,000/s", OURS),
        ("/latency_ms/ours_10000", "bellhop, 10,000/s", OURS),
        ("/latency_ms/p1_10000", "bare loop, 10,000/s", BARE),
        ("/latency_ms/ours_50000", "bellhop, 50,000/s", OURS),
    ];
    let title = "From the time a command was due to its event at a reader: p95, from p50 to p99";
    Ok(Panel { title, unit: "ms", rows: rows(detail, &bars, ["p50", "p95", "p99"])? })
}

/// A bar of each: where its values are, its name and its colour.
fn rows(
    detail: &Value,
    bars: &[(&str, &str, RGBColor)],
    [least, typical, most]: [&str; 3],
) -> anyhow::Result<Vec<Row>> {
    let rows = bars.iter().map(|&(path, name, colour)| {
        let value = |which: &str| super::bench::number(detail, &format!("{path}/{which}"));
        let values = [value(least)?, value(typical)?, value(most)?];
        Ok(Row { name: name.to_owned(), values, colour })
    });
    rows.collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(area: &Area<'_>, panel: &Panel, top: i32) -> anyhow::Result<()> {
    let most = panel.rows.iter().map(|row| row.values[2]).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + (value / most * f64::from(BAR)) as i32;
    let write = |text: String, at: (i32, i32), style| area.draw(&Text::new(text, at, style));
    write(panel.title.to_owned(), (24, top + 30), style(17, INK, HPos::Left)).map_err(failed)?;
    for (row, y) in panel.rows.iter().zip((0..).map(|n| top + HEAD + ROW * n + ROW / 2)) {
        let [least, typical, most] = row.values;
        write(row.name.clone(), (LEFT - 14, y), style(15, INK, HPos::Right)).map_err(failed)?;
        let bar = [(LEFT, y - 9), (x(typical), y + 9)];
        area.draw(&Rectangle::new(bar, row.colour.filled())).map_err(failed)?;
        let line = [(x(least), y), (x(most), y)];
        area.draw(&PathElement::new(line.to_vec(), INK.stroke_width(1))).map_err(failed)?;
        for end in [least, most] {
            let end = vec![(x(end), y - 4), (x(end), y + 4)];
            area.draw(&PathElement::new(end, INK.stroke_width(1))).map_err(failed)?;
        }
        let number = format!("{typical:.2} {}", panel.unit);
        write(number, (x(most) + 10, y), style(14, SOFT, HPos::Left)).map_err(failed)?;
    }
    Ok(())
}

fn style(size: i32, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    let style = TextStyle::from(("sans-serif", size).into_font());
    TextStyle { color: colour.to_backend_color(), ..style }.pos(Pos::new(at, VPos::Center))
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw the plot: {error}")
}
