//! An event of any type: decoded, as JSON, and in words.

use anyhow::{Context as _, Result, bail};
use bellhop_core::avro::{Avro as _, Reader};
use bellhop_core::engine::{
    CommandAcknowledged, CommandConflicted, EngineRecord as _, Genesis, ParkedResolved, Resolution,
};
use bellhop_core::message::{Message as _, Meta};
use bellhop_core::rules::{Rules, RulesChanged};
use bellhop_schemas::command::Acceptance;
use bellhop_schemas::event::{
    CatalogRejected, OverbookingLimitChanged, PhysicalCountChanged, ProductDefined,
    PropertyDefined, ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut,
    ReservationCreated, ReservationExtended, ReservationMoved, ReservationNoShow,
    ReservationRejected,
};
use bellhop_schemas::ids::{ExternalRef, PropertyId, ReservationId};
use bellhop_schemas::reason::{Alternative, Reason};
use bellhop_schemas::stay::{Line, LineMove, OversoldNight, SupplyChange};

use crate::words;

macro_rules! any_event {
    ($($name:ident),* ; $($engine:ident),* $(,)?) => {
        /// An event.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(untagged)]
        pub(crate) enum AnyEvent {
            $($name($name),)*
            $($engine($engine),)*
        }

        impl AnyEvent {
            /// Decodes what stands behind the frame of a record of the schema `name`.
            ///
            /// # Errors
            /// When the bytes are not what the schema says, or this program does not know it.
            pub(crate) fn decode(name: &str, datum: &[u8]) -> Result<(Meta, Self)> {
                let mut reader = Reader::new(datum);
                let meta = Meta::decode(&mut reader).with_context(|| format!("decode {name}"))?;
                let event = match name {
                    $($name::NAME => $name::decode(&mut reader).map(Self::$name),)*
                    $($engine::NAME => $engine::decode(&mut reader).map(Self::$engine),)*
                    _ => bail!(
                        "{name} is not an event known here; use the version that wrote it, or newer"
                    ),
                };
                Ok((meta, event.with_context(|| format!("decode {name}"))?))
            }

            /// Its type as users see it.
            pub(crate) fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $name::TYPE,)*
                    $(Self::$engine(_) => $engine::TYPE,)*
                }
            }

            /// The property that it is about.
            pub(crate) fn property_id(&self) -> Option<PropertyId> {
                match self {
                    $(Self::$name(event) => Some(event.property_id),)*
                    $(Self::$engine(_) => None,)*
                }
            }
        }
    };
}
any_event!(
    PropertyDefined,
    ProductDefined,
    PhysicalCountChanged,
    OverbookingLimitChanged,
    ReservationCreated,
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationMoved,
    ReservationExtended,
    ReservationCheckedOut,
    ReservationNoShow,
    ReservationRejected,
    CatalogRejected;
    Genesis,
    CommandConflicted,
    CommandAcknowledged,
    RulesChanged,
    ParkedResolved,
);

impl AnyEvent {
    /// The reservation that it is about.
    pub(crate) fn reservation_id(&self) -> Option<ReservationId> {
        match self {
            Self::ReservationCreated(event) => Some(event.reservation_id),
            Self::ReservationCancelled(event) => Some(event.reservation_id),
            Self::ReservationCheckedIn(event) => Some(event.reservation_id),
            Self::ReservationMoved(event) => Some(event.reservation_id),
            Self::ReservationExtended(event) => Some(event.reservation_id),
            Self::ReservationCheckedOut(event) => Some(event.reservation_id),
            Self::ReservationNoShow(event) => Some(event.reservation_id),
            Self::ReservationRejected(event) => event.reservation_id,
            Self::PropertyDefined(_)
            | Self::ProductDefined(_)
            | Self::PhysicalCountChanged(_)
            | Self::OverbookingLimitChanged(_)
            | Self::CatalogRejected(_)
            | Self::Genesis(_)
            | Self::CommandConflicted(_)
            | Self::CommandAcknowledged(_)
            | Self::RulesChanged(_)
            | Self::ParkedResolved(_) => None,
        }
    }

    /// The number that the guest was given.
    pub(crate) fn confirmation_number(&self) -> Option<&str> {
        match self {
            Self::ReservationCreated(event) => Some(&event.confirmation_number),
            Self::ReservationCancelled(event) => Some(&event.confirmation_number),
            Self::ReservationCheckedIn(event) => Some(&event.confirmation_number),
            Self::ReservationMoved(event) => Some(&event.confirmation_number),
            Self::ReservationExtended(event) => Some(&event.confirmation_number),
            Self::ReservationCheckedOut(event) => Some(&event.confirmation_number),
            Self::ReservationNoShow(event) => Some(&event.confirmation_number),
            Self::ReservationRejected(_)
            | Self::PropertyDefined(_)
            | Self::ProductDefined(_)
            | Self::PhysicalCountChanged(_)
            | Self::OverbookingLimitChanged(_)
            | Self::CatalogRejected(_)
            | Self::Genesis(_)
            | Self::CommandConflicted(_)
            | Self::CommandAcknowledged(_)
            | Self::RulesChanged(_)
            | Self::ParkedResolved(_) => None,
        }
    }

    /// The numbers of other systems that a booking takes, or that its cancellation frees.
    pub(crate) fn external_refs(&self) -> &[ExternalRef] {
        match self {
            Self::ReservationCreated(event) => &event.external_refs,
            Self::ReservationCancelled(event) => &event.external_refs,
            Self::ReservationCheckedIn(_)
            | Self::ReservationMoved(_)
            | Self::ReservationExtended(_)
            | Self::ReservationCheckedOut(_)
            | Self::ReservationNoShow(_)
            | Self::ReservationRejected(_)
            | Self::PropertyDefined(_)
            | Self::ProductDefined(_)
            | Self::PhysicalCountChanged(_)
            | Self::OverbookingLimitChanged(_)
            | Self::CatalogRejected(_)
            | Self::Genesis(_)
            | Self::CommandConflicted(_)
            | Self::CommandAcknowledged(_)
            | Self::RulesChanged(_)
            | Self::ParkedResolved(_) => &[],
        }
    }

    /// Why the command was refused; `None` when it was not.
    pub(crate) fn refusal(&self) -> Option<(&[Reason], &[Alternative])> {
        match self {
            Self::ReservationRejected(event) => Some((&event.reasons, &event.alternatives)),
            Self::CatalogRejected(event) => Some((&event.reasons, &[])),
            Self::PropertyDefined(_)
            | Self::ProductDefined(_)
            | Self::PhysicalCountChanged(_)
            | Self::OverbookingLimitChanged(_)
            | Self::ReservationCreated(_)
            | Self::ReservationCancelled(_)
            | Self::ReservationCheckedIn(_)
            | Self::ReservationMoved(_)
            | Self::ReservationExtended(_)
            | Self::ReservationCheckedOut(_)
            | Self::ReservationNoShow(_)
            | Self::Genesis(_)
            | Self::CommandConflicted(_)
            | Self::CommandAcknowledged(_)
            | Self::RulesChanged(_)
            | Self::ParkedResolved(_) => None,
        }
    }

    /// What is possible and odd about what was accepted.
    pub(crate) fn warnings(&self) -> &[Reason] {
        match self {
            Self::PropertyDefined(event) => &event.warnings,
            Self::ProductDefined(event) => &event.warnings,
            Self::PhysicalCountChanged(event) => &event.warnings,
            Self::ReservationCreated(event) => &event.warnings,
            Self::OverbookingLimitChanged(_)
            | Self::ReservationCancelled(_)
            | Self::ReservationCheckedIn(_)
            | Self::ReservationMoved(_)
            | Self::ReservationExtended(_)
            | Self::ReservationCheckedOut(_)
            | Self::ReservationNoShow(_)
            | Self::ReservationRejected(_)
            | Self::CatalogRejected(_)
            | Self::Genesis(_)
            | Self::CommandConflicted(_)
            | Self::CommandAcknowledged(_)
            | Self::RulesChanged(_)
            | Self::ParkedResolved(_) => &[],
        }
    }

    /// What happened: a sentence for each thing worth saying.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        match self {
            Self::PropertyDefined(event) => words.push(format!(
                "\"{}\", {}, day rolls at {}:00 {}, prices in {}",
                event.code,
                supply("rooms", &event.physical),
                event.roll_hour,
                event.time_zone,
                event.currency,
            )),
            Self::ProductDefined(event) => words.push(format!(
                "{} \"{}\", {}",
                event.product,
                event.name,
                supply("units", &event.physical)
            )),
            Self::PhysicalCountChanged(event) => {
                let of = event.product.as_ref().map_or("the house", |product| product.as_str());
                words.push(format!("{of}: {}", supply("physical count", &event.changes)));
                say_oversold(&event.oversold, &mut words);
            }
            Self::OverbookingLimitChanged(event) => {
                let of = event.product.as_ref().map_or("the house", |product| product.as_str());
                words.push(format!("{of}: {}", supply("overbooking allowance", &event.changes)));
                say_oversold(&event.oversold, &mut words);
            }
            Self::ReservationCreated(event) => {
                words.extend(event.lines.iter().map(words::line));
                if event.acceptance == Acceptance::AlreadySold {
                    words.push("sold elsewhere already".to_owned());
                }
                say_oversold(&event.oversold, &mut words);
            }
            Self::ReservationCancelled(event) => {
                let cause = event.cause.as_ref().map(|cause| format!("because of {cause}"));
                words.extend(cause);
                words.extend(event.released.iter().map(|line| gives_back(line, "gives back")));
            }
            Self::ReservationCheckedIn(event) => {
                let (back, early) = ("takes back", "comes early:");
                words.extend(event.reinstated.iter().map(|line| held_nights(line, back)));
                words.extend(event.moves.iter().map(moves));
                words.extend(event.added.iter().map(|line| held_nights(line, early)));
                say_oversold(&event.oversold, &mut words);
            }
            Self::ReservationMoved(event) => {
                words.extend(event.moves.iter().map(moves));
                say_oversold(&event.oversold, &mut words);
            }
            Self::ReservationExtended(event) => {
                words.extend(event.extended.iter().map(|line| held_nights(line, "stays on:")));
                say_oversold(&event.oversold, &mut words);
            }
            Self::ReservationCheckedOut(event) => {
                words.extend(event.released.iter().flat_map(left));
                words.extend(event.day_use.iter().map(|line| gives_back(line, "was")));
                say_oversold(&event.oversold, &mut words);
            }
            Self::ReservationNoShow(event) => {
                words.extend(event.released.iter().map(|line| gives_back(line, "gives back")));
            }
            Self::ReservationRejected(event) => {
                let asked: Vec<_> = event.asked.iter().map(words::requested).collect();
                let asked = if asked.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", asked.join("; "))
                };
                words.push(format!("{} was refused{asked}", event.command));
                words.extend(
                    event.reasons.iter().map(|reason| format!("because {}", words::reason(reason))),
                );
                let instead: Vec<_> = event.alternatives.iter().map(words::alternative).collect();
                if !instead.is_empty() {
                    words.push(format!("could be had instead: {}", instead.join("; ")));
                }
            }
            Self::CatalogRejected(event) => {
                words.push(format!("{} was refused", event.command));
                words.extend(
                    event.reasons.iter().map(|reason| format!("because {}", words::reason(reason))),
                );
            }
            Self::Genesis(event) => {
                words.push(format!("log {} of {} partitions", event.log_id, event.partitions));
            }
            Self::CommandConflicted(event) => words.push(format!(
                "{} came with the idempotency key of another command, which led to {}",
                event.command, event.first_event_id
            )),
            Self::RulesChanged(event) => {
                let Rules { idempotency_hours, value_bytes_max, retention_days } = event.after;
                words.push(format!(
                    "keys are remembered for {idempotency_hours} hours, values have at most {value_bytes_max} bytes, what is over is kept for {retention_days} days"
                ));
            }
            Self::CommandAcknowledged(event) => {
                words.push(format!("{} changed nothing", event.command))
            }
            Self::ParkedResolved(event) => {
                let what = match event.resolution {
                    Resolution::Released => "released",
                    Resolution::Edited => "released, edited,",
                    Resolution::Skipped => "skipped",
                };
                words.push(format!(
                    "the parked command at offset {} was {what} by {}: {}",
                    event.offset, event.by, event.why
                ));
            }
        }
        let warnings = self.warnings().iter();
        words.extend(warnings.map(|warning| format!("warning: {}", words::reason(warning))));
        words
    }
}

fn gives_back(line: &Line, what: &str) -> String {
    format!("{what} {}", words::line(line))
}

/// Nights that were booked and are not stayed, and nights that a guest who stayed on gives back.
fn left(line: &Line) -> Vec<String> {
    let (late, early): (Vec<_>, Vec<_>) =
        line.nights.iter().cloned().partition(|at| line.is_overstay(at.night));
    let parts = [(early, "leaves early:"), (late, "gives back")];
    let parts = parts.into_iter().filter(|(nights, _)| !nights.is_empty());
    parts.map(|(nights, what)| held_nights(&Line { nights, ..line.clone() }, what)).collect()
}

/// The nights that a change is about, whatever the line was booked for.
fn held_nights(line: &Line, what: &str) -> String {
    let (Some(first), Some(last)) = (line.nights.first(), line.nights.last()) else {
        return format!("{what} {}", words::line(line));
    };
    let (arrival, departure) = (first.night, last.night.plus(1));
    format!("{what} {}", words::line(&Line { arrival, departure, ..line.clone() }))
}

fn moves(change: &LineMove) -> String {
    let LineMove { line, held } = change;
    format!("line {} sold as {} moves to {held}", line.number, line.product)
}

fn say_oversold(nights: &[OversoldNight], words: &mut Vec<String>) {
    if !nights.is_empty() {
        words.push(format!("above the limit: {}", words::oversold(nights)));
    }
}

fn supply(what: &str, changes: &[SupplyChange]) -> String {
    let run = |change: &SupplyChange| {
        let from = change.first_night.map_or_else(String::new, |night| format!(" from {night}"));
        let to = change.last_night.map_or_else(String::new, |night| format!(" to {night}"));
        format!("{what} {} instead of {}{from}{to}", change.after, change.before)
    };
    changes.iter().map(run).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use bellhop_core::message::Timestamp;
    use bellhop_schemas::dimensions::Dimensions;
    use bellhop_schemas::event::ReservationExtended;
    use bellhop_schemas::ids::ProductCode;
    use bellhop_schemas::money::Currency;
    use bellhop_schemas::night::Night;
    use bellhop_schemas::stay::{LineNight, Price, PricedBy};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_change_of_some_nights_is_told_by_these_nights_whatever_was_booked() {
        let day = |day| Night::ymd(2030, 7, day).expect("a day");
        let night = |day| LineNight { night: day, held: None, price: Price::default() };
        let extended = Line {
            number: 1,
            product: ProductCode::new("DBL"),
            units: 1,
            arrival: day(10),
            departure: day(12),
            adults: 2,
            child_ages: Vec::new(),
            dimensions: Default::default(),
            currency: Currency::EUR,
            priced_by: PricedBy::Client,
            nights: vec![night(day(12))],
            day_use: None,
        };
        let event = AnyEvent::ReservationExtended(ReservationExtended {
            property_id: PropertyId(Uuid::nil()),
            business_date: day(13),
            reservation_id: ReservationId(Uuid::nil()),
            confirmation_number: "RSV-2030-000001".into(),
            booked_at: Timestamp(0),
            country: None,
            extended: vec![extended],
            oversold: Vec::new(),
        });
        assert_eq!(
            event.words(),
            ["stays on: DBL, 1 night from 2030-07-12 to 2030-07-13, 0.00 EUR"]
        );
    }

    #[test]
    fn a_guest_who_stayed_on_gives_nights_back_and_one_who_leaves_early_leaves_early() {
        let night = |night| LineNight { night: Night(night), held: None, price: Price::default() };
        let booked = Line {
            number: 1,
            product: ProductCode::new("DBL"),
            units: 1,
            arrival: Night(10),
            departure: Night(12),
            adults: 2,
            child_ages: Vec::new(),
            dimensions: Dimensions::default(),
            currency: Currency::EUR,
            priced_by: PricedBy::Client,
            nights: vec![night(11)],
            day_use: None,
        };
        let stayed_on = Line { nights: vec![night(12), night(13)], ..booked.clone() };
        let early = left(&booked).join("; ");
        assert!(early.starts_with("leaves early: DBL, 1 night from 1970-01-12"), "{early}");
        let late = left(&stayed_on).join("; ");
        assert!(late.starts_with("gives back DBL, 2 nights from 1970-01-13"), "{late}");
        let all = Line { nights: [booked.nights, stayed_on.nights].concat(), ..stayed_on };
        assert_eq!(left(&all), [early, late]);
    }
}
