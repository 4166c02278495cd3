//! Room revenue: the prices of the room-nights sold.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "room_revenue",
    summary: "revenue of the rooms, net of tax and of everything else",
    unit: Unit::Money,
    grain: Grain::Nights,
    formula: "room",
};
