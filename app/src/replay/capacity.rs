//! The rooms that the hotels must have had: a first pass over the same steps in the same order.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use bellhop_schemas::ids::ProductCode;
use bellhop_schemas::night::Night;

use super::import::Import;
use super::row::{Ending, Row};
use super::schedule::{Phase, Step};

/// What `--capacity` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Physical counts of houses by the hotel's name; these get no allowance.
    houses: BTreeMap<String, i32>,
}

impl Capacity {
    /// Of the values of the option: `auto`, or `HOTEL=ROOMS` as often as wanted.
    ///
    /// # Errors
    /// When a value is neither.
    pub(crate) fn parse(values: &[String]) -> Result<Self> {
        let mut houses = BTreeMap::new();
        for value in values.iter().filter(|value| *value != "auto") {
            let (hotel, rooms) = value.rsplit_once('=').with_context(|| {
                format!("--capacity {value}: write \"auto\" or \"City Hotel=226\"")
            })?;
            let count = rooms.trim().parse().ok().filter(|count| (0..=32_000).contains(count));
            let count = count.with_context(|| {
                format!("--capacity {value}: \"{rooms}\" is not a number of rooms (0 to 32000)")
            })?;
            houses.insert(hotel.trim().to_owned(), count);
        }
        Ok(Self { houses })
    }

    /// The supply of each hotel.
    ///
    /// # Errors
    /// When a hotel is named that the file does not have.
    pub(crate) fn supplies(&self, import: &Import, steps: &[Step]) -> Result<Vec<Supply>> {
        let has = |hotel: &String| import.hotels.contains(hotel);
        if let Some(stranger) = self.houses.keys().find(|hotel| !has(hotel)) {
            let known = import.hotels.join("\", \"");
            bail!("--capacity names \"{stranger}\", the file has \"{known}\"");
        }
        let mut supplies = supplies(import, steps);
        for (supply, hotel) in supplies.iter_mut().zip(&import.hotels) {
            if let Some(count) = self.houses.get(hotel) {
                supply.house = Limit { physical: *count, allowance: 0 };
            }
        }
        Ok(supplies)
    }

    /// As text that tells two replays apart.
    pub(crate) fn to_text(&self) -> String {
        let houses = self.houses.iter().map(|(hotel, count)| format!("{hotel}={count}"));
        let text = houses.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "auto".to_owned() } else { text }
    }
}

/// A physical count and what may be sold above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) physical: i32,
    pub(crate) allowance: i32,
}

/// Limits of a hotel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Supply {
    pub(crate) house: Limit,
    pub(crate) products: BTreeMap<ProductCode, Limit>,
}

/// Counts by night.
#[derive(Debug, Clone, Default)]
struct Counts {
    by_night: Vec<i32>,
}

impl Counts {
    fn at(&self, first: Night, night: i32) -> i32 {
        let index = usize::try_from(night - first.0).ok();
        index.and_then(|index| self.by_night.get(index)).copied().unwrap_or(0)
    }

    /// Adds to each night and gives the largest sum.
    fn add(&mut self, first: Night, nights: std::ops::Range<i32>, by: i32) -> i32 {
        let index = |night: i32| usize::try_from(night - first.0).unwrap_or_default();
        let range = index(nights.start)..index(nights.end);
        if self.by_night.len() < range.end {
            self.by_night.resize(range.end, 0);
        }
        let mut most = 0;
        for count in &mut self.by_night[range] {
            *count += by;
            most = most.max(*count);
        }
        most
    }
}

/// What a first pass counts of one product, or of the house.
#[derive(Debug, Clone, Default)]
struct Track {
    on_the_books: Counts,
    /// Day uses on the books, by day.
    day_uses: BTreeMap<i32, i32>,
    stayed: Counts,
    /// Most rooms on the books of a night right after a booking: what the limit must allow.
    booked_most: i32,
    /// Most rooms that stayed on a night.
    stayed_most: i32,
}

impl Track {
    /// Adds nights, or the use of a day where there are none.
    fn add(&mut self, first: Night, nights: std::ops::Range<i32>, by: i32) -> i32 {
        if nights.is_empty() {
            *self.day_uses.entry(nights.start).or_default() += by;
            return 0;
        }
        let most = self.on_the_books.add(first, nights.clone(), by);
        // The engine keeps units for the day uses around the nights.
        let days = self.day_uses.range(nights.start..=nights.end);
        let stays = |day: i32| {
            let night = |night| self.on_the_books.at(first, night);
            night(day - 1).min(night(day))
        };
        let over_days = days.filter(|(_, units)| **units > 0);
        over_days.map(|(day, units)| stays(*day) + units).fold(most, i32::max)
    }

    fn limit(&self) -> Limit {
        let allowance = (self.booked_most - self.stayed_most).max(0);
        Limit { physical: self.stayed_most, allowance }
    }
}

/// Counts what is on the books as the engine does, moves at check-in included; refuses nothing.
fn supplies(import: &Import, steps: &[Step]) -> Vec<Supply> {
    let first = import.rows.iter().map(|row| row.arrival).min().unwrap_or(Night(0));
    let mut tracks: Vec<(Track, BTreeMap<ProductCode, Track>)> =
        vec![Default::default(); import.hotels.len()];
    let nights = |row: &Row| row.arrival.0..row.departure.0;
    for row in &import.rows {
        let (house, products) = &mut tracks[row.hotel];
        products.entry(row.sold.clone()).or_default();
        let given = products.entry(row.given.clone()).or_default();
        if row.ending == Ending::Stayed {
            house.stayed_most = house.stayed_most.max(house.stayed.add(first, nights(row), 1));
            given.stayed_most = given.stayed_most.max(given.stayed.add(first, nights(row), 1));
        }
    }
    for step in steps {
        let row = &import.rows[step.row];
        let (house, products) = &mut tracks[row.hotel];
        let mut change = |product: &ProductCode, by: i32| {
            let track = products.entry(product.clone()).or_default();
            let most = track.add(first, nights(row), by);
            if step.phase == Phase::Book {
                track.booked_most = track.booked_most.max(most);
            }
        };
        match step.phase {
            Phase::Book => {
                change(&row.sold, 1);
                let most = house.add(first, nights(row), 1);
                house.booked_most = house.booked_most.max(most);
            }
            Phase::Cancel | Phase::CancelSameDay | Phase::NoShow => {
                change(&row.sold, -1);
                house.add(first, nights(row), -1);
            }
            Phase::CheckIn if row.given != row.sold && row.arrival < row.departure => {
                change(&row.sold, -1);
                change(&row.given, 1);
            }
            Phase::CheckIn | Phase::CheckOut | Phase::CheckOutDayUse => {}
        }
    }
    let supply = |(house, products): &(Track, BTreeMap<ProductCode, Track>)| Supply {
        house: house.limit(),
        products: products.iter().map(|(code, track)| (code.clone(), track.limit())).collect(),
    };
    tracks.iter().map(supply).collect()
}
