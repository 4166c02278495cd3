//! `#[processor]` on a function.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ItemFn;

use crate::signature::{Argument, arguments};

pub(crate) fn expand(function: ItemFn) -> syn::Result<TokenStream> {
    let found = arguments(&function.sig, "processor")?;
    if !found.message_by_reference {
        return Err(syn::Error::new_spanned(
            found.message,
            "a processor takes its event by reference: several may process one event",
        ));
    }
    let event = found.message;
    let (mut uses, mut slots, mut states, mut passed) = (vec![], vec![], vec![], vec![]);
    for (ty, argument) in found.rest {
        passed.push(match argument {
            Argument::Store { state, write } => {
                let slot = format_ident!("store_{}", slots.len());
                uses.push(quote! {
                    ::bellhop_core::registry::StoreUse {
                        store: ::bellhop_core::store::StoreInfo::of::<#state>(),
                        write: #write,
                    }
                });
                let passed = if write {
                    quote! { #slot.get::<#state>() }
                } else {
                    quote! { &*#slot.get::<#state>() }
                };
                slots.push(slot);
                states.push(state);
                passed
            }
            Argument::Context => quote!(call.cx),
            Argument::Timers => quote!(call.timers),
            Argument::Value { .. } => {
                return Err(syn::Error::new_spanned(
                    ty,
                    "nothing injects this here: a processor takes `&mut Store<_>`, `&Store<_>`, \
                     `&mut Timers` or `&Context`",
                ));
            }
        });
    }
    let name = &function.sig.ident;
    let label = name.to_string();
    let count = slots.len();
    Ok(quote! {
        #function
        const _: () = {
            fn run(event: &dyn ::std::any::Any, call: ::bellhop_core::processor::ProcessorCall<'_>) {
                let event = ::bellhop_core::processor::expect_event::<#event>(event);
                let [#(#slots),*] = call.stores.disjoint::<#count>(call.slots);
                #name(event, #(#passed),*);
            }
            #[::bellhop_core::linkme::distributed_slice(::bellhop_core::registry::PROCESSORS)]
            #[linkme(crate = ::bellhop_core::linkme)]
            static PROCESSOR: ::bellhop_core::registry::ProcessorDescriptor =
                ::bellhop_core::registry::ProcessorDescriptor {
                    name: #label,
                    file: file!(),
                    message: ::bellhop_core::message::MessageInfo::of::<#event>(),
                    stores: &[#(#uses),*],
                    run,
                };
            #( const _: () = ::bellhop_core::registry::partitioned_alike::<#event, #states>(); )*
        };
    })
}
