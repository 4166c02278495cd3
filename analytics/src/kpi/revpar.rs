//! RevPAR: room revenue by room-nights that the house physically has.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "revpar",
    summary: "room revenue per room-night that the house physically has",
    unit: Unit::MoneyPerNight,
    grain: Grain::NightsOfSupply,
    formula: "CAST(coalesce(room, 0) AS DOUBLE) / nullif(supply, 0)",
};
