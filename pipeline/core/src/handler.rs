//! The conventions of handlers: what they may return, and how a refusal becomes an event.

use crate::context::Context;
use crate::emit::Emitter;
use crate::message::{Kind, Message, MessageInfo};

/// Cascades between a message from outside and the last one it may lead to.
pub const CASCADE_DEPTH_MAX: u8 = 8;

/// What a handler returns, and what may be sent for it: nothing, a message, `Option`, `Vec`, a
/// tuple, or `Result` with a [`Refusal`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "neither a message nor a refusal",
    note = "return nothing, a command or event, an `Option`, `Vec` or tuple of them, or `Result<_, R>` with `R: Refusal<{C}>`"
)]
pub trait Outputs<C>: Sized {
    /// Sends it.
    fn emit(self, emitter: &mut Emitter<'_, C>);
    /// Collects the types it may hold.
    fn describe(types: &mut Vec<MessageInfo>);
}

/// A business "no" that becomes an event.
pub trait Refusal<C>: Sized {
    /// The event.
    type Event: Message;
    /// The event that records it, with what the command asked for.
    fn refuse(self, command: &C, cx: &Context<'_>) -> Self::Event;
}

impl<C> Outputs<C> for () {
    fn emit(self, _: &mut Emitter<'_, C>) {}
    fn describe(_: &mut Vec<MessageInfo>) {}
}

impl<C, M: Message> Outputs<C> for M {
    fn emit(self, emitter: &mut Emitter<'_, C>) {
        match M::KIND {
            Kind::Event => emitter.event(&self),
            Kind::Command => emitter.cascade(&self),
            Kind::Timer => panic!("{} is a timer: processors set it, nobody returns it", M::TYPE),
        }
    }
    fn describe(types: &mut Vec<MessageInfo>) {
        types.push(MessageInfo::of::<M>());
    }
}

impl<C, T: Outputs<C>> Outputs<C> for Option<T> {
    fn emit(self, emitter: &mut Emitter<'_, C>) {
        if let Some(output) = self {
            output.emit(emitter);
        }
    }
    fn describe(types: &mut Vec<MessageInfo>) {
        T::describe(types);
    }
}

impl<C, T: Outputs<C>> Outputs<C> for Vec<T> {
    fn emit(self, emitter: &mut Emitter<'_, C>) {
        self.into_iter().for_each(|output| output.emit(emitter));
    }
    fn describe(types: &mut Vec<MessageInfo>) {
        T::describe(types);
    }
}

impl<C: Message, T: Outputs<C>, R: Refusal<C>> Outputs<C> for Result<T, R> {
    fn emit(self, emitter: &mut Emitter<'_, C>) {
        match self {
            Ok(output) => output.emit(emitter),
            Err(refusal) => {
                let event = refusal.refuse(&emitter.command_again(), &emitter.context());
                emitter.event(&event);
            }
        }
    }
    fn describe(types: &mut Vec<MessageInfo>) {
        T::describe(types);
        types.push(MessageInfo::of::<R::Event>());
    }
}

macro_rules! tuples {
    ($(($($name:ident),*)),*) => {$(
        impl<C, $($name: Outputs<C>),*> Outputs<C> for ($($name,)*) {
            #[expect(non_snake_case, reason = "the type parameters name the parts")]
            fn emit(self, emitter: &mut Emitter<'_, C>) {
                let ($($name,)*) = self;
                $( $name.emit(emitter); )*
            }
            fn describe(types: &mut Vec<MessageInfo>) {
                $( $name::describe(types); )*
            }
        }
    )*};
}
tuples!((A, B), (A, B, D), (A, B, D, E));
