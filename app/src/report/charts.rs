//! The pictures, as SVG by `plotters`.

use anyhow::{Result, anyhow};
use bellhop_schemas::night::Night;
use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, PathElement,
    RGBColor, Rectangle, SVGBackend, SeriesLabelPosition, ShapeStyle, Text, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{CURVE_DAYS, Hotel, Month};

/// The page's style sheet replaces these; see `page.html`.
const INK: RGBColor = RGBColor(0x1b, 0x24, 0x30);
const SOFT: RGBColor = RGBColor(0x5b, 0x67, 0x76);
const GRID: RGBColor = RGBColor(0xdf, 0xe3, 0xe8);
const EMPTY: RGBColor = RGBColor(0xec, 0xef, 0xf2);
const HOTELS: [RGBColor; 2] = [RGBColor(0x24, 0x63, 0xc5), RGBColor(0xd9, 0x68, 0x2b)];

/// From empty to full; also told apart in grey and by the colour-blind.
///
/// # Source
/// Viridis (Smith, van der Walt 2015), turned round and without its ends.
const HEAT: [(u8, u8, u8); 7] = [
    (0xe9, 0xf1, 0xc0),
    (0xa9, 0xdb, 0x8c),
    (0x5c, 0xc0, 0x86),
    (0x2f, 0xa0, 0x8c),
    (0x2c, 0x7c, 0x8e),
    (0x37, 0x55, 0x8b),
    (0x3d, 0x24, 0x6b),
];

const WIDTH: u32 = 1000;
const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw a chart: {error}")
}

fn style(size: i32, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    TextStyle { color: colour.to_backend_color(), ..TextStyle::from((FONT, size).into_font()) }
        .pos(Pos::new(at, VPos::Center))
}

fn colour(hotel: usize) -> RGBColor {
    HOTELS[hotel % HOTELS.len()]
}

/// Spreads the upper half, where busy hotels are, over more colours than the lower.
fn heat(share: f64) -> RGBColor {
    let steps = HEAT.len() - 1;
    let place = share.clamp(0.0, 1.0).powi(2) * steps as f64;
    let low = (place as usize).min(steps - 1);
    let part = place - low as f64;
    let ((r0, g0, b0), (r1, g1, b1)) = (HEAT[low], HEAT[low + 1]);
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * part) as u8;
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn month_name(month: i8) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or("?")
}

/// Occupancy by night: a row a month, a column a day.
pub(super) fn heat_map(hotel: &Hotel) -> Result<String> {
    const LEFT: i32 = 96;
    const TOP: i32 = 68;
    const CELL: (i32, i32) = (29, 20);
    let day_of = |night: Night| night.date().map(|date| (date.year(), date.month(), date.day()));
    let mut rows: Vec<(i16, i8)> = hotel
        .nights
        .iter()
        .filter_map(|(night, _)| day_of(*night))
        .map(|(y, m, _)| (y, m))
        .collect();
    rows.dedup();
    let height = TOP + rows.len() as i32 * CELL.1 + 12;
    svg(height.unsigned_abs(), |area| {
        let text = |words: String, at: (i32, i32), style: TextStyle<'static>| {
            area.draw(&Text::new(words, at, style)).map_err(failed)
        };
        draw_title(area, &hotel.name)?;
        draw_scale(area)?;
        for day in 1..=31 {
            let x = LEFT + (day - 1) * CELL.0 + CELL.0 / 2;
            text(day.to_string(), (x, TOP - 12), style(14, SOFT, HPos::Center))?;
        }
        for (row, (year, month)) in rows.iter().enumerate() {
            let y = TOP + row as i32 * CELL.1 + CELL.1 / 2;
            let first_of_year = row == 0 || *month == 1;
            if first_of_year {
                let bold = style(15, INK, HPos::Left).into_bold();
                text(year.to_string(), (0, y), bold)?;
            }
            text(month_name(*month).to_owned(), (LEFT - 12, y), style(14, SOFT, HPos::Right))?;
        }
        for (night, share) in &hotel.nights {
            let Some((year, month, day)) = day_of(*night) else { continue };
            let Some(row) = rows.iter().position(|row| *row == (year, month)) else { continue };
            let x = LEFT + (i32::from(day) - 1) * CELL.0;
            let y = TOP + row as i32 * CELL.1;
            let fill = if *share > 0.0 { heat(*share) } else { EMPTY };
            let cell = [(x, y), (x + CELL.0 - 2, y + CELL.1 - 2)];
            area.draw(&Rectangle::new(cell, fill.filled())).map_err(failed)?;
        }
        Ok(())
    })
}

fn draw_scale(area: &Area<'_>) -> Result<()> {
    const STEPS: i32 = 50;
    const LEFT: i32 = WIDTH as i32 - 260;
    for step in 0..STEPS {
        let x = LEFT + step * 4;
        let fill = heat(f64::from(step) / f64::from(STEPS - 1));
        area.draw(&Rectangle::new([(x, 6), (x + 5, 18)], fill.filled())).map_err(failed)?;
    }
    for (share, words) in [(0, "0 %"), (50, "50 %"), (100, "100 %")] {
        let at = (LEFT + share * STEPS * 4 / 100, 28);
        area.draw(&Text::new(words, at, style(13, SOFT, HPos::Center))).map_err(failed)?;
    }
    Ok(())
}

fn draw_title(area: &Area<'_>, words: &str) -> Result<()> {
    let title = Text::new(words.to_owned(), (0, 14), style(18, INK, HPos::Left).into_bold());
    area.draw(&title).map_err(failed)
}

/// A figure of money by month, a line a hotel.
pub(super) fn by_month<'h>(
    name: &str,
    hotels: &'h [Hotel],
    of: impl Fn(&Month) -> f64,
) -> Result<String> {
    let drawn = |hotel: &'h Hotel| hotel.months.iter().filter(|month| month.arrivals > 0);
    let mut months: Vec<&str> =
        hotels.iter().flat_map(drawn).map(|month| month.name.as_str()).collect();
    months.sort_unstable();
    months.dedup();
    let most = hotels.iter().flat_map(drawn).map(&of).fold(1.0, f64::max);
    let currency = hotels.first().map_or("", |hotel| hotel.currency.as_str());
    let place = |name: &str| months.iter().position(|month| *month == name).unwrap_or_default();
    svg(340, |area| {
        let last = months.len().saturating_sub(1).max(1) as f64;
        draw_title(area, &format!("{name}, {currency}"))?;
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(36)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.3..last + 0.3, 0.0..most * 1.08)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(6)
            .y_label_formatter(&|amount| format!("{amount:.0}"))
            .label_style(style(14, SOFT, HPos::Center))
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(ShapeStyle::from(&GRID.mix(0.0)))
            .draw()
            .map_err(failed)?;
        // A label every three months, with the year where it begins to hold.
        let floor = chart.plotting_area().get_pixel_range().1.end;
        let mut year_said = "";
        for (place, name) in months.iter().enumerate().step_by(3) {
            let (year, month) = name.split_once('-').unwrap_or_default();
            let month = month_name(month.parse().unwrap_or_default());
            let words =
                if year == year_said { month.to_owned() } else { format!("{month} {year}") };
            year_said = year;
            let (x, _) = chart.backend_coord(&(place as f64, 0.0));
            let tick = PathElement::new([(x, floor), (x, floor + 5)], GRID);
            area.draw(&tick).map_err(failed)?;
            let label = Text::new(words, (x, floor + 18), style(14, SOFT, HPos::Center));
            area.draw(&label).map_err(failed)?;
        }
        for (index, hotel) in hotels.iter().enumerate() {
            let points = drawn(hotel).map(|month| (place(&month.name) as f64, of(month)));
            let line = ShapeStyle::from(&colour(index)).stroke_width(3);
            chart
                .draw_series(LineSeries::new(points, line))
                .map_err(failed)?
                .label(hotel.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], line));
        }
        draw_legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })
}

/// Share of the room-nights on the books by days before arrival.
pub(super) fn booking_curve(hotels: &[Hotel]) -> Result<String> {
    svg(360, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(12)
            .x_label_area_size(52)
            .y_label_area_size(56)
            .build_cartesian_2d(-(CURVE_DAYS as f64)..0.0, 0.0..1.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_labels(13)
            .x_label_formatter(&|days| format!("{:.0}", days.abs()))
            .x_desc("days before arrival")
            .y_labels(6)
            .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
            .axis_desc_style(style(14, SOFT, HPos::Center))
            .label_style(style(14, SOFT, HPos::Center))
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(ShapeStyle::from(&GRID.mix(0.0)))
            .draw()
            .map_err(failed)?;
        for (index, hotel) in hotels.iter().enumerate() {
            let points = hotel.curve.iter().enumerate().rev();
            let points = points.map(|(days, share)| (-(days as f64), *share));
            let line = ShapeStyle::from(&colour(index)).stroke_width(3);
            chart
                .draw_series(LineSeries::new(points, line))
                .map_err(failed)?
                .label(hotel.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], line));
        }
        draw_legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })
}

/// Share of the bookings that was cancelled, by lead time.
pub(super) fn cancellations(hotels: &[Hotel]) -> Result<String> {
    let classes = hotels.first().map_or(&[][..], |hotel| &hotel.leads);
    let most = hotels.iter().flat_map(|hotel| &hotel.leads).map(super::Lead::share);
    let most = (most.fold(0.1, f64::max) * 1.12).min(1.0);
    svg(380, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(12)
            .x_label_area_size(52)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..classes.len().max(1) as f64, 0.0..most)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(6)
            .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
            .label_style(style(14, SOFT, HPos::Center))
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(ShapeStyle::from(&GRID.mix(0.0)))
            .draw()
            .map_err(failed)?;
        let width = 0.72 / hotels.len().max(1) as f64;
        for (index, hotel) in hotels.iter().enumerate() {
            let fill = colour(index);
            let left = |class: usize| class as f64 + 0.14 + index as f64 * width;
            let bars = hotel.leads.iter().enumerate().map(|(class, lead)| {
                let corners =
                    [(left(class) + 0.01, 0.0), (left(class) + width - 0.01, lead.share())];
                Rectangle::new(corners, fill.filled())
            });
            chart
                .draw_series(bars)
                .map_err(failed)?
                .label(hotel.name.as_str())
                .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 22, y + 6)], fill.filled()));
            let labels = hotel.leads.iter().enumerate().map(|(class, lead)| {
                let at = (left(class) + width / 2.0, lead.share() + most * 0.025);
                Text::new(
                    format!("{:.0} %", lead.share() * 100.0),
                    at,
                    style(13, INK, HPos::Center),
                )
            });
            chart.draw_series(labels).map_err(failed)?;
        }
        let plot = chart.plotting_area().get_pixel_range();
        for (class, lead) in classes.iter().enumerate() {
            let wide = f64::from(plot.0.end - plot.0.start) / classes.len() as f64;
            let x = plot.0.start + ((class as f64 + 0.5) * wide) as i32;
            let label =
                Text::new(lead.name.clone(), (x, plot.1.end + 16), style(14, SOFT, HPos::Center));
            area.draw(&label).map_err(failed)?;
        }
        let middle = (plot.0.start + plot.0.end) / 2;
        let words = "days between booking and arrival".to_owned();
        let label = Text::new(words, (middle, plot.1.end + 40), style(14, SOFT, HPos::Center));
        area.draw(&label).map_err(failed)?;
        draw_legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })
}

fn draw_legend<'a, 'b, X, Y>(
    chart: &mut plotters::chart::ChartContext<
        'a,
        SVGBackend<'b>,
        plotters::coord::cartesian::Cartesian2d<X, Y>,
    >,
    at: SeriesLabelPosition,
) -> Result<()>
where
    X: plotters::coord::ranged1d::Ranged<ValueType = f64>,
    Y: plotters::coord::ranged1d::Ranged<ValueType = f64>,
    'b: 'a,
{
    chart
        .configure_series_labels()
        .position(at)
        .margin(12)
        .legend_area_size(32)
        .label_font(style(15, INK, HPos::Left).pos(Pos::new(HPos::Left, VPos::Top)))
        .background_style(BLACK.mix(0.0))
        .border_style(BLACK.mix(0.0))
        .draw()
        .map_err(failed)
}

/// Text styles in bold.
trait Bold {
    fn into_bold(self) -> Self;
}

impl Bold for TextStyle<'static> {
    fn into_bold(mut self) -> Self {
        self.font = self.font.style(plotters::style::FontStyle::Bold);
        self
    }
}
