//! Length of stay: mean nights from arrival to departure of the bookings made.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "length_of_stay",
    summary: "mean nights of a booking",
    unit: Unit::Days,
    grain: Grain::Bookings,
    formula: "CAST(nights AS DOUBLE) / nullif(booked, 0)",
};
