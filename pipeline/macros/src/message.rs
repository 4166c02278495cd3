//! `#[derive(Command)]`, `#[derive(Event)]`, `#[derive(Timer)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Fields, Ident, LitStr, Path};

use crate::avro;

pub(crate) fn derive(input: DeriveInput, kind: &str) -> syn::Result<TokenStream> {
    let name = avro::Attributes::of(&input)?.required_name(&input)?;
    let (mut key, mut type_name, mut code) = (None::<Ident>, None::<LitStr>, None::<Ident>);
    let mut codes = None::<Path>;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("message")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("key") {
                key = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("type") {
                type_name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("code") {
                code = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("codes") {
                codes = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("expected `key`, `type`, `code` or `codes`"));
            }
            Ok(())
        })?;
    }
    let ident = &input.ident;
    let key = key.ok_or_else(|| {
        syn::Error::new_spanned(
            ident,
            format!(
                "a {} names the field that it is partitioned by: #[message(key = property_id)]",
                kind.to_lowercase()
            ),
        )
    })?;
    let type_name = match (type_name, kind) {
        (Some(name), _) => name.value(),
        (None, "Event") => {
            return Err(syn::Error::new_spanned(
                ident,
                "an event has a type name: #[message(type = \"reservation.created\", ..)]",
            ));
        }
        (None, _) => ident.to_string(),
    };
    let key_type = field_type(&input, &key)?;
    let code = code.map(|method| {
        quote! {
            #[inline]
            fn outcome_code(&self) -> u16 {
                self.#method()
            }
        }
    });
    let codes = codes.map(|symbols| {
        quote! {
            fn refusal(code: u16) -> ::std::option::Option<&'static str> {
                ::bellhop_core::avro::Symbol::of_code::<#symbols>(code).map(|symbol| symbol.name)
            }
        }
    });
    let kind = format_ident!("{kind}");
    let register = match kind.to_string().as_str() {
        "Event" => quote! {
            #[::bellhop_core::linkme::distributed_slice(::bellhop_core::registry::EVENTS)]
            #[linkme(crate = ::bellhop_core::linkme)]
            static EVENT: ::bellhop_core::registry::EventDescriptor =
                ::bellhop_core::registry::EventDescriptor::of::<#ident>();
        },
        _ => quote! {
            #[::bellhop_core::linkme::distributed_slice(::bellhop_core::registry::REQUESTS)]
            #[linkme(crate = ::bellhop_core::linkme)]
            static REQUEST: ::bellhop_core::message::MessageInfo =
                ::bellhop_core::message::MessageInfo::of::<#ident>();
        },
    };
    Ok(quote! {
        impl ::bellhop_core::message::Message for #ident {
            const NAME: &'static str = #name;
            const TYPE: &'static str = #type_name;
            const KIND: ::bellhop_core::message::Kind = ::bellhop_core::message::Kind::#kind;
            type Key = #key_type;
            #[inline]
            fn key(&self) -> Self::Key {
                self.#key
            }
            #code
            #codes
        }
        const _: () = { #register };
    })
}

fn field_type<'a>(input: &'a DeriveInput, key: &Ident) -> syn::Result<&'a syn::Type> {
    if let Data::Struct(data) = &input.data
        && let Fields::Named(fields) = &data.fields
        && let Some(field) = fields.named.iter().find(|field| field.ident.as_ref() == Some(key))
    {
        return Ok(&field.ty);
    }
    Err(syn::Error::new_spanned(key, format!("there is no field `{key}` to partition by")))
}
