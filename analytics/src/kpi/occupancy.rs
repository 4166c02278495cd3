//! Occupancy: room-nights sold by room-nights that the house physically has.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "occupancy",
    summary: "share of the physical rooms that is sold",
    unit: Unit::Share,
    grain: Grain::NightsOfSupply,
    formula: "CAST(coalesce(units, 0) AS DOUBLE) / nullif(supply, 0)",
};
