//! `unique`, `unique(key = "field")`, `unique(fields(a, b), until = …, on_conflict = …)`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parse;
use syn::{Data, Error, Fields, Ident, LitStr, Path, Result, Token};

use crate::value;

/// Largest tuple that can be serialized.
const FIELDS: usize = 16;

/// What makes the key.
enum Key {
    Args,
    Field(Ident),
    Fields(Vec<Ident>),
}

/// The unique rule.
pub(crate) struct Unique {
    key: Key,
    until: Option<LitStr>,
    on_conflict: Option<LitStr>,
}

impl Unique {
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> Result<Self> {
        let (mut key, mut until, mut on_conflict) = (None, None, None);
        if meta.input.peek(Token![=]) {
            return Err(meta
                .error("expected `unique`, `unique(key = \"field\")` or `unique(fields(a, b))`"));
        }
        if meta.input.peek(syn::token::Paren) {
            meta.parse_nested_meta(|part| {
                if part.path.is_ident("key") {
                    let field = value::text(&part, "key = \"field\"")?;
                    let field = field.parse().map_err(|_| {
                        Error::new(
                            field.span(),
                            "expected the name of one field: `key = \"field\"`",
                        )
                    })?;
                    value::set(&mut key, &part, Key::Field(field))
                } else if part.path.is_ident("fields") {
                    value::set(&mut key, &part, fields(&part)?)
                } else if part.path.is_ident("until") {
                    value::set(&mut until, &part, value::text(&part, "until = \"finished\"")?)
                } else if part.path.is_ident("on_conflict") {
                    let text = value::text(&part, "on_conflict = \"keep\"")?;
                    value::set(&mut on_conflict, &part, text)
                } else {
                    Err(value::unknown(&part, &["key", "fields", "until", "on_conflict"]))
                }
            })?;
        }
        Ok(Self { key: key.unwrap_or(Key::Args), until, on_conflict })
    }

    pub(crate) fn expand(&self, krate: &Path, data: &Data) -> Result<TokenStream> {
        let key = match &self.key {
            Key::Args => quote!(self),
            Key::Field(field) => {
                check_field(field, data)?;
                quote!(&self.#field)
            }
            Key::Fields(fields) => {
                fields.iter().try_for_each(|field| check_field(field, data))?;
                quote!(&(#(&self.#fields,)*))
            }
        };
        let until = self.until.as_ref().map(|text| until(krate, text)).transpose()?;
        let on_conflict =
            self.on_conflict.as_ref().map(|text| on_conflict(krate, text)).transpose()?;
        Ok(quote! {
            fn unique(&self) -> #krate::Result<::core::option::Option<#krate::Unique>> {
                ::core::result::Result::Ok(::core::option::Option::Some(
                    #krate::Unique::of::<Self>(#key)? #until #on_conflict
                ))
            }
        })
    }
}

fn fields(meta: &ParseNestedMeta<'_>) -> Result<Key> {
    let why = format!(
        "expected 1 to {FIELDS} fields: `fields(a, b)`; `unique` alone takes the whole args"
    );
    if !meta.input.peek(syn::token::Paren) {
        return Err(meta.error(why));
    }
    let list;
    syn::parenthesized!(list in meta.input);
    let fields: Vec<_> = list.parse_terminated(Ident::parse, Token![,])?.into_iter().collect();
    if fields.is_empty() || fields.len() > FIELDS {
        return Err(meta.error(why));
    }
    Ok(Key::Fields(fields))
}

fn check_field(field: &Ident, data: &Data) -> Result<()> {
    let Data::Struct(data) = data else {
        return Err(Error::new(
            field.span(),
            "only a struct has fields; `unique` alone takes the whole args",
        ));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(
            field.span(),
            "the fields have no names; `unique` alone takes the whole args",
        ));
    };
    let names: Vec<_> = fields.named.iter().filter_map(|f| f.ident.as_ref()).collect();
    if names.contains(&field) {
        return Ok(());
    }
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    Err(Error::new(
        field.span(),
        format!("there is no field `{field}`; there are: {}", names.join(", ")),
    ))
}

fn until(krate: &Path, text: &LitStr) -> Result<TokenStream> {
    let until = match text.value().as_str() {
        "started" => quote!(Started),
        "finished" => quote!(Finished),
        _ => {
            let length = value::duration(text).map_err(|_| {
                Error::new(
                    text.span(),
                    "expected \"started\", \"finished\" or a length of time from the insert such as \"5m\"",
                )
            })?;
            let length = value::duration_tokens(length);
            quote!(For(#length))
        }
    };
    Ok(quote!(.until(#krate::UniqueUntil::#until)))
}

fn on_conflict(krate: &Path, text: &LitStr) -> Result<TokenStream> {
    let variant = match text.value().as_str() {
        "keep" => quote!(Keep),
        "replace" => quote!(Replace),
        "reject" => quote!(Reject),
        _ => {
            return Err(Error::new(text.span(), "expected \"keep\", \"replace\" or \"reject\""));
        }
    };
    Ok(quote!(.on_conflict(#krate::OnConflict::#variant)))
}
