//! `#[handler]` on a function or on a module of `load`, `validate`, `handle`, `after`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{GenericArgument, Item, ItemFn, ItemMod, PathArguments, ReturnType, Type};

use crate::avro::doc;
use crate::signature::{Argument, arguments};

/// The functions of a compound handler, in the order in which they run.
const STEPS: [&str; 4] = ["load", "validate", "handle", "after"];

pub(crate) fn expand(item: Item) -> syn::Result<TokenStream> {
    match item {
        Item::Fn(function) => {
            let name = function.sig.ident.clone();
            let descriptor = compound(&name, &doc(&function.attrs), &[&function])?;
            Ok(quote! { #function #descriptor })
        }
        Item::Mod(module) => expand_module(module),
        other => Err(syn::Error::new_spanned(
            other,
            "#[handler] belongs on a function, or on an inline module with a function `handle`",
        )),
    }
}

fn expand_module(mut module: ItemMod) -> syn::Result<TokenStream> {
    let name = module.ident.clone();
    let Some((_, items)) = &mut module.content else {
        return Err(syn::Error::new_spanned(
            name,
            "#[handler] needs the module's body here: mod name { pub fn handle(..) {..} }",
        ));
    };
    let steps: Vec<&ItemFn> = STEPS
        .iter()
        .filter_map(|step| {
            items.iter().find_map(|item| match item {
                Item::Fn(function) if function.sig.ident == step => Some(function),
                _ => None,
            })
        })
        .collect();
    if !steps.iter().any(|step| step.sig.ident == "handle") {
        return Err(syn::Error::new_spanned(
            name,
            "a handler module has a function `handle`; `load`, `validate` and `after` are optional",
        ));
    }
    let docs = std::iter::once(doc(&module.attrs)).chain(steps.iter().map(|step| doc(&step.attrs)));
    let docs: Vec<_> = docs.filter(|doc| !doc.is_empty()).collect();
    let descriptor = compound(&name, &docs.join("\n\n"), &steps)?;
    items.push(Item::Verbatim(descriptor));
    Ok(quote! { #module })
}

/// What a step returned, available to later steps by its type.
struct Value {
    ty: Type,
    ident: syn::Ident,
}

fn compound(name: &syn::Ident, doc: &str, steps: &[&ItemFn]) -> syn::Result<TokenStream> {
    let mut stores: Vec<&Type> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut body = TokenStream::new();
    let mut message: Option<&Type> = None;
    let mut refusal: Option<Type> = None;
    let mut outputs: Vec<(Type, syn::Ident)> = Vec::new();

    for (place, step) in steps.iter().enumerate() {
        let found = arguments(&step.sig, "handler")?;
        match message {
            None => message = Some(found.message),
            Some(first) if text(first) == text(found.message) => {}
            Some(first) => {
                return Err(syn::Error::new_spanned(
                    found.message,
                    format!("the functions of one handler take one message: `{}`", text(first)),
                ));
            }
        }
        let last = place + 1 == steps.len();
        if !found.message_by_reference && !last {
            return Err(syn::Error::new_spanned(
                found.message,
                "only the last function may take the message by value; take it by reference",
            ));
        }
        let command = if found.message_by_reference { quote!(&command) } else { quote!(command) };
        let mut passed = Vec::new();
        for (ty, argument) in found.rest {
            passed.push(match argument {
                Argument::Store { state, write: false } => {
                    let known = stores.iter().position(|other| text(other) == text(state));
                    let slot = known.unwrap_or_else(|| {
                        stores.push(state);
                        stores.len() - 1
                    });
                    quote! { stores.at::<#state>(slots[#slot]) }
                }
                Argument::Store { write: true, .. } | Argument::Timers => {
                    return Err(syn::Error::new_spanned(
                        ty,
                        "a handler only reads; return an event and let a #[processor] write",
                    ));
                }
                Argument::Context => quote!(cx),
                Argument::Value { value, by_reference } => {
                    let Some(known) = values.iter().find(|known| text(&known.ty) == text(value))
                    else {
                        return Err(syn::Error::new_spanned(
                            ty,
                            format!(
                                "nothing injects `{}` here: a handler takes `&Store<_>`, \
                                 `&Context`, or what an earlier function of its module returned",
                                text(value)
                            ),
                        ));
                    };
                    let ident = &known.ident;
                    if by_reference { quote!(&#ident) } else { quote!(#ident) }
                }
            });
        }
        let function = &step.sig.ident;
        let returned = match &step.sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => ty.as_ref().clone(),
        };
        let call = quote! { #function(#command, #(#passed),*) };
        let (value_type, call) = match result_of(&returned) {
            Some((value, error)) if steps.len() > 1 => {
                match &refusal {
                    Some(first) if text(first) != text(&error) => {
                        return Err(syn::Error::new_spanned(
                            &error,
                            format!(
                                "the functions of one handler refuse with one type: `{}`",
                                text(first)
                            ),
                        ));
                    }
                    _ => refusal = Some(error),
                }
                (value, quote! { #call? })
            }
            _ => (returned, call),
        };
        let ident = format_ident!("{}_returned", function);
        body.extend(quote! { let #ident = #call; });
        if steps.len() == 1 || function == "handle" || function == "after" {
            outputs.push((value_type.clone(), ident.clone()));
        }
        match value_type {
            Type::Tuple(tuple) if !last && function != "handle" => {
                let parts: Vec<_> =
                    (0..tuple.elems.len()).map(|n| format_ident!("{ident}_{n}")).collect();
                body.extend(quote! { let (#(#parts,)*) = #ident; });
                let elements = tuple.elems.into_iter().zip(parts);
                values.extend(elements.map(|(ty, ident)| Value { ty, ident }));
            }
            ty => values.push(Value { ty, ident }),
        }
    }

    let Some(message) = message else { return Ok(TokenStream::new()) };
    let (types, idents): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
    let (all, value) = match (types.as_slice(), idents.as_slice()) {
        ([one], [ident]) => (quote!(#one), quote!(#ident)),
        _ => (quote!((#(#types),*)), quote!((#(#idents),*))),
    };
    let (all, value) = match refusal {
        Some(error) => {
            (quote!(::std::result::Result<#all, #error>), quote!(::std::result::Result::Ok(#value)))
        }
        None => (all, value),
    };
    let label = name.to_string();
    Ok(quote! {
        const _: () = {
            fn run(call: &mut ::bellhop_core::call::Call<'_>) -> ::bellhop_core::outcome::Decided {
                call.decide::<#message, #all>(|command, stores, slots, cx| {
                    let _ = (stores, slots, cx);
                    #body
                    #value
                })
            }
            #[::bellhop_core::linkme::distributed_slice(::bellhop_core::registry::HANDLERS)]
            #[linkme(crate = ::bellhop_core::linkme)]
            static HANDLER: ::bellhop_core::registry::HandlerDescriptor =
                ::bellhop_core::registry::HandlerDescriptor {
                    name: #label,
                    file: file!(),
                    doc: #doc,
                    message: ::bellhop_core::message::MessageInfo::of::<#message>(),
                    stores: &[#( ::bellhop_core::store::StoreInfo::of::<#stores>() ),*],
                    outputs: <#all as ::bellhop_core::handler::Outputs<#message>>::describe,
                    run,
                };
            #( const _: () = ::bellhop_core::registry::partitioned_alike::<#message, #stores>(); )*
        };
    })
}

/// The two types of a `Result`.
fn result_of(ty: &Type) -> Option<(Type, Type)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(generics) = &last.arguments else { return None };
    let mut types = generics.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some((types.next()?, types.next()?))
}

/// A type as text, to compare and to show.
fn text(ty: &Type) -> String {
    quote!(#ty).to_string().replace(' ', "")
}
