//! Bookings refused; each counts once, however many rules refused it.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "refusals",
    summary: "bookings refused",
    unit: Unit::Count,
    grain: Grain::Refusals,
    formula: "refused",
};
