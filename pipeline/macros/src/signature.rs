//! What the arguments of a handler or processor ask for.

use syn::{FnArg, GenericArgument, PathArguments, Signature, Type, TypeReference};

/// What an argument is injected with.
pub(crate) enum Argument<'a> {
    /// `&Store<S>` or `&mut Store<S>`.
    Store {
        /// The state.
        state: &'a Type,
        /// Whether it may be written.
        write: bool,
    },
    /// `&Context`.
    Context,
    /// `&mut Timers`.
    Timers,
    /// Anything else: what an earlier function returned.
    Value {
        /// Its type, without the reference.
        value: &'a Type,
        /// Whether it is taken by reference.
        by_reference: bool,
    },
}

/// The type of the first argument, and whether it is a reference; the others classified.
pub(crate) struct Arguments<'a> {
    pub(crate) message: &'a Type,
    pub(crate) message_by_reference: bool,
    pub(crate) rest: Vec<(&'a Type, Argument<'a>)>,
}

pub(crate) fn arguments<'a>(signature: &'a Signature, what: &str) -> syn::Result<Arguments<'a>> {
    if let Some(asyncness) = &signature.asyncness {
        return Err(syn::Error::new_spanned(
            asyncness,
            format!("a {what} is synchronous and pure; work on the outside world is an effect"),
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &signature.generics,
            format!("a {what} has no generics: it is found by its concrete types"),
        ));
    }
    let mut types = signature.inputs.iter().map(|input| match input {
        FnArg::Typed(typed) => Ok(typed.ty.as_ref()),
        FnArg::Receiver(receiver) => Err(syn::Error::new_spanned(
            receiver,
            format!("a {what} is a plain function, not a method"),
        )),
    });
    let message = types.next().ok_or_else(|| {
        syn::Error::new_spanned(
            &signature.ident,
            format!("a {what} takes its message as the first argument"),
        )
    })??;
    let (message, message_by_reference) = match message {
        Type::Reference(TypeReference { elem, mutability: None, .. }) => (elem.as_ref(), true),
        other => (other, false),
    };
    let rest = types.map(|ty| ty.map(|ty| (ty, classify(ty)))).collect::<syn::Result<_>>()?;
    Ok(Arguments { message, message_by_reference, rest })
}

fn classify(ty: &Type) -> Argument<'_> {
    let Type::Reference(TypeReference { elem, mutability, .. }) = ty else {
        return Argument::Value { value: ty, by_reference: false };
    };
    if let Type::Path(path) = elem.as_ref()
        && let Some(last) = path.path.segments.last()
    {
        match (last.ident.to_string().as_str(), &last.arguments) {
            ("Store", PathArguments::AngleBracketed(generics)) => {
                if let Some(GenericArgument::Type(state)) = generics.args.first() {
                    return Argument::Store { state, write: mutability.is_some() };
                }
            }
            ("Context", _) => return Argument::Context,
            ("Timers", _) => return Argument::Timers,
            _ => {}
        }
    }
    Argument::Value { value: elem, by_reference: true }
}
