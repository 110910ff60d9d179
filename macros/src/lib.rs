//! `#[derive(Job)]` for the Windlass job library. Use it through the facade crate `windlass`.
#![forbid(unsafe_code)]

mod attributes;
mod backoff;
mod expand;
mod unique;
mod value;

use proc_macro::TokenStream;

/// Derives `Job` for a type that is `Serialize` and `Deserialize`.
///
/// ```ignore
/// #[derive(Job, Serialize, Deserialize)]
/// #[job(kind = "thumbnail", queue = "media", max_attempts = 5, timeout = "2m", output = Thumb)]
/// struct Thumbnail { image: Blob, width: u32 }
/// ```
///
/// | in `#[job(…)]` | meaning | without it |
/// |---|---|---|
/// | `kind = "…"` | the name under which jobs are stored and handlers found | the type's name in `snake_case` |
/// | `queue = "…"` | the queue | `default` |
/// | `priority = -10` | order within the queue, lower first | 0 |
/// | `max_attempts = 5` | attempts before the job is discarded | 20 |
/// | `timeout = "30s"`, `timeout = "none"` | how long one attempt may take | one hour |
/// | `backoff(base = "1s", max = "1h", factor = 2, jitter = 0.25)` | the delay after a failed attempt; each part may be left out | those values |
/// | `backoff = path` | the same from a function `fn() -> Backoff` | |
/// | `output = Type` | what the handler returns | `()` |
/// | `unique` | one job at a time with the same args | not unique |
/// | `unique(key = "field")`, `unique(fields(a, b))` | one at a time with the same field, or fields | the whole args |
/// | `unique(until = "started")` | how long: `started`, `finished`, or a length of time such as `5m` from the insert | `finished` |
/// | `unique(on_conflict = "replace")` | what becomes of the other: `keep` the job that is there, `replace` what it holds, or `reject` | `keep` |
/// | `crate = "path"` | where the library is, when it is not `::windlass` | |
///
/// Lengths of time are written as `500ms`, `30s`, `5m`, `2h`, `1d`, or several of these (`1h30m`).
#[proc_macro_derive(Job, attributes(job))]
pub fn derive_job(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::job(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
