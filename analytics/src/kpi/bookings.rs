//! Bookings made, whatever became of them.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "bookings",
    summary: "bookings made, also those cancelled later",
    unit: Unit::Count,
    grain: Grain::Bookings,
    formula: "coalesce(booked, 0)",
};
