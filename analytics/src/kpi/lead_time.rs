//! Lead time: mean days from the business date of the booking to the arrival.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "lead_time",
    summary: "mean days from booking to arrival",
    unit: Unit::Days,
    grain: Grain::Bookings,
    formula: "CAST(lead_days AS DOUBLE) / nullif(booked, 0)",
};
