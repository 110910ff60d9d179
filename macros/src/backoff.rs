//! `backoff = path` and `backoff(base = …, max = …, factor = …, jitter = …)`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{ExprPath, Path, Result, Token};

use crate::value;

/// How the delay before the next attempt is made.
pub(crate) enum Backoff {
    Function(ExprPath),
    Parts { base: Duration, max: Duration, factor: Option<f64>, jitter: Option<f64> },
}

impl Backoff {
    pub(crate) fn parse(meta: &ParseNestedMeta<'_>) -> Result<Self> {
        if meta.input.peek(Token![=]) {
            return Ok(Self::Function(meta.value()?.parse()?));
        }
        if !meta.input.peek(syn::token::Paren) {
            return Err(meta
                .error("expected `backoff(base = \"1s\", max = \"1h\")` or `backoff = function`"));
        }
        let (mut base, mut max, mut factor, mut jitter) = (None, None, None, None);
        meta.parse_nested_meta(|part| {
            if part.path.is_ident("base") {
                let length = value::duration(&value::text(&part, "base = \"1s\"")?)?;
                value::set(&mut base, &part, length)
            } else if part.path.is_ident("max") {
                let length = value::duration(&value::text(&part, "max = \"1h\"")?)?;
                value::set(&mut max, &part, length)
            } else if part.path.is_ident("factor") {
                let number = within(&part, "expected a number from 1: `factor = 2`", 1.0, 1_000.0)?;
                value::set(&mut factor, &part, number)
            } else if part.path.is_ident("jitter") {
                let number =
                    within(&part, "expected a share from 0 to 1: `jitter = 0.25`", 0.0, 1.0)?;
                value::set(&mut jitter, &part, number)
            } else {
                Err(value::unknown(&part, &["base", "max", "factor", "jitter"]))
            }
        })?;
        let (base, max) = match (base, max) {
            (Some(base), Some(max)) if base > max => {
                return Err(meta.error("its `base` is longer than its `max`"));
            }
            // The defaults of the core, as far as the other part leaves them room.
            (Some(base), None) => (base, base.max(Duration::from_secs(3_600))),
            (None, Some(max)) => (max.min(Duration::from_secs(1)), max),
            (base, max) => {
                (base.unwrap_or(Duration::from_secs(1)), max.unwrap_or(Duration::from_secs(3_600)))
            }
        };
        Ok(Self::Parts { base, max, factor, jitter })
    }

    pub(crate) fn expand(&self, krate: &Path) -> TokenStream {
        let value = match self {
            Self::Function(path) => quote!(#path()),
            Self::Parts { base, max, factor, jitter } => {
                let (base, max) = (value::duration_tokens(*base), value::duration_tokens(*max));
                let factor = factor.map(|factor| quote!(.with_factor(#factor)));
                let jitter = jitter.map(|jitter| quote!(.with_jitter(#jitter)));
                quote!(#krate::Backoff::exponential(#base, #max) #factor #jitter)
            }
        };
        quote! {
            fn backoff() -> #krate::Backoff {
                #value
            }
        }
    }
}

fn within(meta: &ParseNestedMeta<'_>, expected: &str, low: f64, high: f64) -> Result<f64> {
    let number: f64 = value::number(meta, expected)?;
    if (low..=high).contains(&number) { Ok(number) } else { Err(meta.error(expected)) }
}
