//! The `impl Job` that the derive writes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Path, Result, parse_quote};

use crate::attributes::Attributes;
use crate::value;

pub(crate) fn job(input: &DeriveInput) -> Result<TokenStream> {
    check_shape(input)?;
    let attributes = Attributes::parse(&input.attrs)?;
    let krate: Path = attributes.krate.clone().unwrap_or_else(|| parse_quote!(::windlass));
    let kind = kind(input, &attributes)?;
    let queue = attributes.queue.as_ref().map(|queue| quote!(const QUEUE: &'static str = #queue;));
    let priority = attributes
        .priority
        .map(|n| quote!(const PRIORITY: #krate::Priority = #krate::Priority(#n);));
    let max_attempts = attributes.max_attempts.map(|n| quote!(const MAX_ATTEMPTS: u32 = #n;));
    let timeout = attributes.timeout.map(timeout);
    let output = attributes.output.as_ref().map_or_else(|| quote!(()), |output| quote!(#output));
    let backoff = attributes.backoff.as_ref().map(|backoff| backoff.expand(&krate));
    let unique =
        attributes.unique.as_ref().map(|rule| rule.expand(&krate, &input.data)).transpose()?;
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #krate::Job for #name {
            const KIND: &'static str = #kind;
            #queue
            #priority
            #max_attempts
            #timeout
            type Output = #output;
            #backoff
            #unique
        }
    })
}

fn check_shape(input: &DeriveInput) -> Result<()> {
    if let Data::Union(union) = &input.data {
        return Err(Error::new(union.union_token.span, "a job is a struct or an enum"));
    }
    if let Some(lifetime) = input.generics.lifetimes().next() {
        let why = "a job owns its data, because it is stored: use `String` for `&str`, `Vec<T>` for `&[T]`";
        return Err(Error::new_spanned(lifetime, why));
    }
    if !input.generics.params.is_empty() {
        let why = "a job has one kind, which its parameters would share: derive it for a type without parameters";
        return Err(Error::new_spanned(&input.generics, why));
    }
    Ok(())
}

fn kind(input: &DeriveInput, attributes: &Attributes) -> Result<String> {
    if let Some(kind) = &attributes.kind {
        return Ok(kind.value());
    }
    let kind = snake_case(&input.ident.unraw().to_string());
    value::name("kind", &kind, input.ident.span())
        .map_err(|e| Error::new(e.span(), format!("{e}; name one with `#[job(kind = \"…\")]`")))?;
    Ok(kind)
}

fn timeout(timeout: Option<std::time::Duration>) -> TokenStream {
    let value = match timeout {
        Some(timeout) => {
            let timeout = value::duration_tokens(timeout);
            quote!(::core::option::Option::Some(#timeout))
        }
        None => quote!(::core::option::Option::None),
    };
    quote!(const TIMEOUT: ::core::option::Option<::core::time::Duration> = #value;)
}

/// `HTTPRequest2Send` becomes `http_request2_send`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let starts_word = c.is_uppercase()
            && before.is_some_and(|b| {
                b != '_'
                    && (!b.is_uppercase() || chars.get(i + 1).is_some_and(|n| n.is_lowercase()))
            });
        if starts_word {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// Whatever stands in a type and its attributes, the derive writes an `impl`, or an error in its stead.
#[cfg(any(test, fuzzing))]
pub(crate) fn property(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.matches(['(', '[', '{', '<']).count() > 64 {
        // The compiler has read it before, and refuses what is nested too deep.
        return;
    }
    let attribute = format!("#[job({text})] struct Thumbnail {{ a: u8, b: String }}");
    for text in [&*text, &attribute] {
        let Ok(input) = syn::parse_str::<DeriveInput>(text) else { continue };
        match job(&input) {
            Ok(tokens) => assert!(tokens.to_string().contains("impl")),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_of_every_sort_are_expanded_or_refused() {
        windlass_test_inputs::check("derive", property);
    }

    #[test]
    fn kinds_follow_from_type_names() {
        let names = ["Thumbnail", "SendMail", "HTTPRequest2Send", "SendHTTP", "Already_snake", "A"];
        assert_eq!(
            names.map(snake_case),
            ["thumbnail", "send_mail", "http_request2_send", "send_http", "already_snake", "a"]
        );
    }
}
