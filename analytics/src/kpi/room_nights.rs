//! Room-nights sold: units times nights, complimentary ones included, day use not.

use super::{Grain, Kpi, Unit};

pub(super) const KPI: Kpi = Kpi {
    name: "room_nights",
    summary: "room-nights on the books",
    unit: Unit::Count,
    grain: Grain::Nights,
    formula: "coalesce(units, 0)",
};
