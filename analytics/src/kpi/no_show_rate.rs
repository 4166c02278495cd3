//! No-show rate: no-shows by bookings made and not cancelled.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "no_show_rate",
    summary: "share of the bookings not cancelled whose guest did not come",
    unit: Unit::Share,
    grain: Grain::Bookings,
    formula: "CAST(no_show AS DOUBLE) / nullif(booked - cancelled, 0)",
};
