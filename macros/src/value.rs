//! Values of attributes, checked where they stand.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitStr, Result, UnOp};

/// Same as in the core: longest name, in bytes.
const NAME_BYTES: usize = 128;

/// Text after `=`.
pub(crate) fn text(meta: &ParseNestedMeta<'_>, example: &str) -> Result<LitStr> {
    let value: Expr =
        meta.value().map_err(|_| meta.error(format!("expected `{example}`")))?.parse()?;
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        other => Err(Error::new_spanned(other, format!("expected text in quotes: `{example}`"))),
    }
}

/// A number after `=`, with its sign.
pub(crate) fn number<T>(meta: &ParseNestedMeta<'_>, expected: &str) -> Result<T>
where
    T: std::str::FromStr,
{
    let wrong = |tokens: &dyn quote::ToTokens| Error::new_spanned(tokens, expected);
    let value: Expr = meta.value().map_err(|_| meta.error(expected))?.parse()?;
    let (sign, literal) = match &value {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => ("-", &**expr),
        literal => ("", literal),
    };
    let Expr::Lit(ExprLit { lit, .. }) = literal else { return Err(wrong(&value)) };
    let digits = match lit {
        Lit::Int(int) if int.suffix().is_empty() => int.base10_digits(),
        Lit::Float(float) if float.suffix().is_empty() => float.base10_digits(),
        _ => return Err(wrong(&value)),
    };
    format!("{sign}{digits}").parse().map_err(|_| wrong(&value))
}

/// A name as the core takes it.
pub(crate) fn name(what: &str, text: &str, at: Span) -> Result<()> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'));
    if text.is_empty() {
        return Err(Error::new(at, format!("the {what} is empty")));
    }
    if let Some(c) = text.chars().find(odd) {
        let fixed: String = text.chars().map(|c| if odd(&c) { '_' } else { c }).collect();
        return Err(Error::new(
            at,
            format!(
                "{c:?} is not allowed in a {what}: use A-Z a-z 0-9 _ . : - (for instance `{fixed}`)"
            ),
        ));
    }
    if text.len() > NAME_BYTES {
        let found = text.len();
        return Err(Error::new(
            at,
            format!("a {what} has at most {NAME_BYTES} bytes, this one has {found}"),
        ));
    }
    Ok(())
}

/// A length of time longer than zero.
pub(crate) fn duration(text: &LitStr) -> Result<Duration> {
    let value = text.value();
    let Some(duration) = parse_duration(&value) else {
        return Err(Error::new(
            text.span(),
            format!(
                "{value:?} is no length of time: write for instance \"500ms\", \"30s\", \"5m\", \"2h\", \"1d\" or \"1h30m\""
            ),
        ));
    };
    if duration.is_zero() {
        return Err(Error::new(text.span(), "a length of time must be longer than zero"));
    }
    Ok(duration)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        let number: u64 = rest[..digits].parse().ok()?;
        let part = match &rest[digits..unit] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        sum = sum.checked_add(part)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

/// The duration as an expression.
pub(crate) fn duration_tokens(duration: Duration) -> TokenStream {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#secs, #nanos))
}

/// Sets a value once.
pub(crate) fn set<T>(slot: &mut Option<T>, meta: &ParseNestedMeta<'_>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error("given twice"));
    }
    Ok(())
}

/// The error for a key that nobody knows.
pub(crate) fn unknown(meta: &ParseNestedMeta<'_>, known: &[&str]) -> Error {
    let found = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
    meta.error(format!("`{found}` is not known here; known are: {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_with_their_units() {
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(parse_duration("500ms"), ms(500));
        assert_eq!(parse_duration("1h30m"), ms(5_400_000));
        assert_eq!(parse_duration("1d"), ms(86_400_000));
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5x",
            "1.5s",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
