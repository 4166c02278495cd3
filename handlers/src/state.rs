//! What is remembered: one file per store.

pub mod external_ref;
pub mod in_house;
pub mod inventory;
pub mod property;
pub mod reservation;
pub mod retention;

pub mod calendar;
mod tally;
