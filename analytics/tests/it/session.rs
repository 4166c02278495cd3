//! Events through an expander, as a session answers for them.

use bellhop_analytics::expand::Expander;
use bellhop_analytics::session::Session;
use bellhop_core::message::Position;

use crate::stream::{InLog as _, Known};

/// All events through an expander, as tables in memory.
pub(crate) fn of(events: &[Known]) -> Session {
    let mut expander = Expander::default();
    for (offset, known) in (0..).zip(events) {
        let at = Position { partition: 0, offset };
        expander.event(at, known.name(), &known.meta(offset), &known.datum()).unwrap();
    }
    Session::of_batches(&expander.take().unwrap()).unwrap()
}
