//! Cancellation rate: bookings cancelled by bookings made.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "cancellation_rate",
    summary: "share of the bookings that was cancelled",
    unit: Unit::Share,
    grain: Grain::Bookings,
    formula: "CAST(cancelled AS DOUBLE) / nullif(booked, 0)",
};
