//! The data of the report's pictures.

use bellhop_analytics::chart::{self, CURVE_DAYS, CurvePoint, LeadBucket};

use crate::session;
use crate::slt::fixture;
use crate::stream::night;

#[test]
fn a_calendar_has_every_night_of_every_property() {
    let days = chart::calendar(&session::of(&fixture())).unwrap();
    // June and July of the inn, July of the ryokan.
    assert_eq!(days.len(), 30 + 31 + 31);
    let of = |day: &str| {
        let found = days.iter().find(|it| it.property == "Inn" && it.day == night(day));
        found.unwrap().occupancy
    };
    assert_eq!([of("2016-06-28"), of("2016-06-29")], [Some(0.0), Some(0.2)]);
}

#[test]
fn monthly_rates_stand_side_by_side() {
    let rates = chart::monthly_rates(&session::of(&fixture())).unwrap();
    let texts: Vec<_> = rates
        .iter()
        .map(|it| format!("{} {} {} {:?}", it.property, it.month, it.currency, it.adr))
        .collect();
    assert_eq!(
        texts,
        [
            "Inn 2016-06 EUR Some(10000.0)",
            "Inn 2016-07 EUR None",
            "Ryokan 2016-07 JPY Some(20000.0)"
        ]
    );
}

#[test]
fn a_booking_curve_rises_with_bookings_and_falls_with_cancellations() {
    let session = session::of(&fixture());
    let curve = chart::booking_curve(&session, Some(night("2016-07-15"))).unwrap();
    let of = |property: &str, days: i32| {
        let point = CurvePoint { property: property.into(), days_before: days, room_nights: 0 };
        let found = curve
            .iter()
            .find(|it| (&it.property, it.days_before) == (&point.property, point.days_before));
        found.unwrap().room_nights
    };
    // The doubles on 10 June for the night of 1 July: 21 days; the group 20 and 21; the comp 19.
    assert_eq!([22, 21, 20, 19].map(|days| of("Inn", days)), [0, 5, 8, 9]);
    // The group cancelled 11 and 12 days before; early departure and no-show on the day.
    assert_eq!([12, 11, 1, 0].map(|days| of("Inn", days)), [6, 3, 3, 0]);
    for property in ["Inn", "Ryokan"] {
        let points = curve.iter().filter(|point| point.property == property);
        let days: Vec<_> = points.map(|point| point.days_before).collect();
        assert_eq!(days, (0..=CURVE_DAYS).rev().collect::<Vec<_>>());
    }
    assert_eq!([20, 19, 0].map(|days| of("Ryokan", days)), [1, 2, 3]);
}

#[test]
fn cancellations_stand_in_the_bucket_of_their_booking() {
    let buckets = chart::cancellations_by_lead_time(&session::of(&fixture())).unwrap();
    let bucket = |property: &str, bookings, cancelled| LeadBucket {
        property: property.into(),
        lead_days: "8-30",
        bookings,
        cancelled,
    };
    assert_eq!(buckets, [bucket("Inn", 5, 1), bucket("Ryokan", 1, 0)]);
}
