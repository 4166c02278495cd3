//! ADR: room revenue by room-nights sold.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "adr",
    summary: "average daily rate: room revenue per room-night sold",
    unit: Unit::MoneyPerNight,
    grain: Grain::Nights,
    formula: "CAST(room AS DOUBLE) / nullif(units, 0)",
};
