//! The fold: one file per processor, which applies one event to the stores it names.

pub mod add_product;
pub mod change_allowance;
pub mod change_physical;
pub mod open_property;

pub mod count_confirmation;
pub mod forget_finished;
pub mod index_external_refs;
pub mod keep_reservation;
pub mod take_nights;

pub mod admit_guest;
pub mod close_cancelled;
pub mod close_checked_out;
pub mod close_no_show;
pub mod extend_stay;
pub mod free_external_refs;
pub mod move_stay;
