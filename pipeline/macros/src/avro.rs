//! `#[derive(Avro)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, Field, Fields, Lit, LitStr, Meta, MetaNameValue,
};

/// The arguments of `#[avro(..)]`.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) name: Option<LitStr>,
    schema: Option<LitStr>,
}

impl Attributes {
    pub(crate) fn of(input: &DeriveInput) -> syn::Result<Self> {
        let mut attributes = Self::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("avro")) {
            attribute.parse_nested_meta(|meta| {
                let value = Some(meta.value()?.parse()?);
                if meta.path.is_ident("name") {
                    attributes.name = value;
                } else if meta.path.is_ident("schema") {
                    attributes.schema = value;
                } else {
                    return Err(meta.error("expected `name` or `schema`"));
                }
                Ok(())
            })?;
        }
        Ok(attributes)
    }

    pub(crate) fn required_name(&self, input: &DeriveInput) -> syn::Result<LitStr> {
        self.name.clone().ok_or_else(|| {
            syn::Error::new_spanned(
                &input.ident,
                "an Avro record needs its full name: #[avro(name = \"bellhop.event.Name\")]",
            )
        })
    }
}

pub(crate) fn derive(input: DeriveInput) -> syn::Result<TokenStream> {
    let attributes = Attributes::of(&input)?;
    let ident = &input.ident;
    let (encode, decode, schema, more, beside) = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(_) => record(&input, &attributes, &data.fields)?,
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                newtype(&attributes, &data.fields)
            }
            Fields::Unnamed(_) | Fields::Unit => {
                return Err(syn::Error::new_spanned(ident, "a record needs named fields"));
            }
        },
        Data::Enum(data) => symbols(&input, &attributes, data)?,
        Data::Union(_) => return Err(syn::Error::new_spanned(ident, "a union has no Avro form")),
    };
    Ok(quote! {
        impl ::bellhop_core::avro::Avro for #ident {
            #[inline]
            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                #encode
            }
            #[inline]
            fn decode(
                reader: &mut ::bellhop_core::avro::Reader<'_>,
            ) -> ::std::result::Result<Self, ::bellhop_core::avro::DecodeError> {
                #decode
            }
            fn schema(out: &mut ::bellhop_core::avro::SchemaWriter) {
                #schema
            }
            #more
        }
        #beside
    })
}

/// Bodies of `encode`, `decode` and `schema`, what else the trait has, and other implementations.
type Parts = (TokenStream, TokenStream, TokenStream, TokenStream, TokenStream);

/// A doc comment, line by line.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(MetaNameValue {
            path,
            value: Expr::Lit(ExprLit { lit: Lit::Str(text), .. }),
            ..
        }) if path.is_ident("doc") => {
            let text = text.value();
            Some(text.strip_prefix(' ').unwrap_or(&text).to_owned())
        }
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The release that added a field: `#[avro(since = "0.2.0")]`.
fn since(field: &Field) -> syn::Result<Option<LitStr>> {
    let mut since = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("avro")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("since") {
                return Err(meta.error("expected `since`"));
            }
            since = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(since)
}

fn record(input: &DeriveInput, attributes: &Attributes, fields: &Fields) -> syn::Result<Parts> {
    let name = attributes.required_name(input)?;
    let idents: Vec<_> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let head = format!(r#"{{"type":"record","name":"{}","fields":["#, name.value());
    let since: Vec<_> = fields.iter().map(since).collect::<syn::Result<_>>()?;
    let names: Vec<_> =
        idents.iter().map(|ident| ident.to_string().trim_start_matches("r#").to_owned()).collect();
    let starts = names.iter().zip(&since).enumerate().map(|(index, (name, since))| {
        let comma = if index == 0 { "" } else { "," };
        let since = since.as_ref().map(|it| format!(r#""since":"{}","#, it.value()));
        format!(r#"{comma}{{"name":"{name}",{}"type":"#, since.unwrap_or_default())
    });
    let is_grown = since.iter().any(Option::is_some);
    let first_form = idents.iter().zip(&names).zip(&since).map(|((ident, name), since)| {
        if since.is_some() {
            quote! { out.add(#name, &self.#ident); }
        } else {
            quote! { ::bellhop_core::avro::Avro::first_form(&self.#ident, out); }
        }
    });
    let more = quote! {
        const GROWN: bool = #is_grown #( || <#types as ::bellhop_core::avro::Avro>::GROWN )*;
        fn first_form(&self, out: &mut ::bellhop_core::avro::FirstForm) {
            #( #first_form )*
            let _ = out;
        }
    };
    Ok((
        quote! { #( ::bellhop_core::avro::Avro::encode(&self.#idents, out); )* let _ = out; },
        quote! {
            let _ = &reader;
            ::std::result::Result::Ok(Self { #( #idents: ::bellhop_core::avro::Avro::decode(reader)? ),* })
        },
        quote! {
            if out.define(#name) {
                out.push(#head);
                #( out.push(#starts); <#types as ::bellhop_core::avro::Avro>::schema(out); out.push("}"); )*
                out.push("]}");
            }
        },
        more,
        quote! {},
    ))
}

fn newtype(attributes: &Attributes, fields: &Fields) -> Parts {
    let inner: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let schema = match &attributes.schema {
        Some(text) => quote! { out.push(#text); },
        None => quote! { #( <#inner as ::bellhop_core::avro::Avro>::schema(out); )* },
    };
    (
        quote! { ::bellhop_core::avro::Avro::encode(&self.0, out); },
        quote! { ::bellhop_core::avro::Avro::decode(reader).map(Self) },
        schema,
        quote! {
            const GROWN: bool = #( <#inner as ::bellhop_core::avro::Avro>::GROWN )*;
            fn first_form(&self, out: &mut ::bellhop_core::avro::FirstForm) {
                ::bellhop_core::avro::Avro::first_form(&self.0, out);
            }
        },
        quote! {},
    )
}

fn symbols(
    input: &DeriveInput,
    attributes: &Attributes,
    data: &syn::DataEnum,
) -> syn::Result<Parts> {
    let name = attributes.required_name(input)?;
    if let Some(variant) = data.variants.iter().find(|variant| !variant.fields.is_empty()) {
        return Err(syn::Error::new_spanned(variant, "an Avro enum has no fields"));
    }
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let numbers: Vec<_> = (0_i64..).take(variants.len()).collect();
    let list: Vec<_> = variants.iter().map(|variant| format!("\"{variant}\"")).collect();
    let schema =
        format!(r#"{{"type":"enum","name":"{}","symbols":[{}]}}"#, name.value(), list.join(","));
    let names: Vec<_> = variants.iter().map(|variant| variant.to_string()).collect();
    let docs: Vec<_> = data.variants.iter().map(|variant| doc(&variant.attrs)).collect();
    let ident = &input.ident;
    Ok((
        quote! {
            let number = match self { #( Self::#variants => #numbers ),* };
            ::bellhop_core::avro::write_long(number, out);
        },
        quote! {
            match reader.long()? {
                #( #numbers => ::std::result::Result::Ok(Self::#variants), )*
                _ => ::std::result::Result::Err(reader.invalid("an enum symbol that does not exist")),
            }
        },
        quote! {
            if out.define(#name) {
                out.push(#schema);
            }
        },
        quote! {},
        quote! {
            impl ::bellhop_core::avro::Symbols for #ident {
                const SYMBOLS: &'static [::bellhop_core::avro::Symbol] = &[
                    #( ::bellhop_core::avro::Symbol { name: #names, doc: #docs } ),*
                ];
                const ALL: &'static [Self] = &[ #( Self::#variants ),* ];
                fn symbol(&self) -> ::bellhop_core::avro::Symbol {
                    match self {
                        #( Self::#variants =>
                            ::bellhop_core::avro::Symbol { name: #names, doc: #docs } ),*
                    }
                }
            }
        },
    ))
}
