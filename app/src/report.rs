//! `report.html`: one page with its pictures inside, which asks nothing of any network.
//!
//! Start at [`Report::to_html`]; [`charts`] draws. What is drawn is in ink and grid colours that
//! the page's style sheet replaces, so that the pictures follow a dark screen.

use std::fmt::Write as _;

use anyhow::Result;
use bellhop_schemas::night::Night;

pub(crate) mod charts;
pub(crate) mod gather;

/// Days before arrival that a booking curve shows.
pub(crate) const CURVE_DAYS: usize = 365;

/// What the page tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) hotels: Vec<Hotel>,
    /// Figures of the whole run, in words: name and value.
    pub(crate) figures: Vec<(String, String)>,
    /// Where the data came from, as HTML.
    pub(crate) source: String,
}

/// One hotel. Money is in units of its currency, shares are from 0 to 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hotel {
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) rooms: i64,
    pub(crate) bookings: i64,
    pub(crate) cancelled: i64,
    pub(crate) room_nights: i64,
    pub(crate) revenue: f64,
    pub(crate) occupancy: f64,
    pub(crate) adr: f64,
    pub(crate) revpar: f64,
    /// Share of the rooms that were taken, by night.
    pub(crate) nights: Vec<(Night, f64)>,
    pub(crate) months: Vec<Month>,
    /// Share of the room-nights that stayed which were booked so many days before arrival, or
    /// earlier; by days from 0 to [`CURVE_DAYS`].
    pub(crate) curve: Vec<f64>,
    pub(crate) leads: Vec<Lead>,
}

/// A month of a hotel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Month {
    /// Like `2016-08`.
    pub(crate) name: String,
    /// Bookings that arrive in it; a month without has only the ends of earlier stays.
    pub(crate) arrivals: i64,
    pub(crate) occupancy: f64,
    pub(crate) adr: f64,
    pub(crate) revpar: f64,
}

/// Bookings of a class of lead times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lead {
    pub(crate) name: String,
    pub(crate) bookings: i64,
    pub(crate) cancelled: i64,
}

impl Lead {
    /// Share that was cancelled.
    pub(crate) fn share(&self) -> f64 {
        if self.bookings == 0 { 0.0 } else { self.cancelled as f64 / self.bookings as f64 }
    }
}

impl Report {
    /// The page.
    ///
    /// # Errors
    /// When a picture cannot be drawn.
    pub(crate) fn to_html(&self) -> Result<String> {
        let mut body = String::new();
        let names: Vec<_> = self.hotels.iter().map(|hotel| escape(&hotel.name)).collect();
        write!(body, "<header><h1>Two years of {}</h1>", names.join(" and "))?;
        writeln!(body, "<p>{}</p></header>", self.source)?;
        self.write_figures(&mut body)?;
        section(
            &mut body,
            "How full the houses were",
            "Every night of both hotels: the share of the house that was taken by guests who came. A row is a month, a column a day; the darker, the fuller.",
            &self.hotels.iter().map(charts::heat_map).collect::<Result<Vec<_>>>()?,
        )?;
        section(
            &mut body,
            "What a night earned",
            "ADR is room revenue by room-night sold, complimentary nights included. RevPAR is the same revenue by room there was, so it falls when rooms stay empty. Months in which nobody arrived any more are left out.",
            &[
                charts::by_month("ADR", &self.hotels, |month| month.adr)?,
                charts::by_month("RevPAR", &self.hotels, |month| month.revpar)?,
            ],
        )?;
        section(
            &mut body,
            "When guests booked",
            "Of all room-nights that were stayed in the end, the share already booked so many days before arrival.",
            &[charts::booking_curve(&self.hotels)?],
        )?;
        section(
            &mut body,
            "Who cancelled",
            "The earlier a stay is booked, the likelier it is cancelled.",
            &[charts::cancellations(&self.hotels)?],
        )?;
        let title = self.hotels.iter().map(|hotel| hotel.name.as_str()).collect::<Vec<_>>();
        Ok(PAGE.replace("{{title}}", &escape(&title.join(" and "))).replace("{{body}}", &body))
    }

    fn write_figures(&self, body: &mut String) -> Result<()> {
        write!(body, "<div class=\"hotels\">")?;
        for (index, hotel) in self.hotels.iter().enumerate() {
            let rate = if hotel.bookings == 0 {
                0.0
            } else {
                hotel.cancelled as f64 / hotel.bookings as f64
            };
            let figures = [
                ("Occupancy", format!("{:.1} %", hotel.occupancy * 100.0)),
                ("ADR", format!("{:.2} {}", hotel.adr, hotel.currency)),
                ("RevPAR", format!("{:.2} {}", hotel.revpar, hotel.currency)),
                ("Room revenue", format!("{} {}", whole(hotel.revenue), hotel.currency)),
                ("Room-nights", whole(hotel.room_nights as f64)),
                ("Bookings", whole(hotel.bookings as f64)),
                ("Cancelled", format!("{:.1} %", rate * 100.0)),
                ("Rooms", whole(hotel.rooms as f64)),
            ];
            write!(
                body,
                "<section class=\"card hotel{index}\"><h2>{}</h2><dl>",
                escape(&hotel.name)
            )?;
            for (name, value) in figures {
                write!(body, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value))?;
            }
            writeln!(body, "</dl></section>")?;
        }
        write!(body, "</div><section class=\"card run\"><h2>What was decided</h2><dl>")?;
        for (name, value) in &self.figures {
            write!(body, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value))?;
        }
        writeln!(body, "</dl></section>")?;
        Ok(())
    }
}

fn section(body: &mut String, title: &str, text: &str, pictures: &[String]) -> Result<()> {
    write!(body, "<section class=\"card\"><h2>{title}</h2><p>{text}</p>")?;
    for picture in pictures {
        write!(body, "<figure>{picture}</figure>")?;
    }
    writeln!(body, "</section>")?;
    Ok(())
}

fn whole(number: f64) -> String {
    crate::output::thousands(number.round() as i64)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const PAGE: &str = include_str!("report/page.html");
