//! Decisions: one file per command, the order of its checks in its doc comment.

pub mod define_product;
pub mod define_property;
pub mod set_overbooking;
pub mod set_physical_count;

pub mod create_reservation;

pub mod cancel_reservation;
pub mod check_in;
pub mod check_out;
pub mod extend_stays;
pub mod mark_no_show;
pub mod move_reservation;

mod address;
mod assignment;
mod known;
mod limits;
mod requested_lines;
mod supply;
