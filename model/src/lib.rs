//! Evidence that needs no server: models and simulations that the Windlass job library is checked with.
//!
//! - [`small`]: the fence, with two workers and two jobs, explored in every order of events.
//!
//! `README.md` says how to run them, and how to repeat a failure.
#![forbid(unsafe_code)]

pub mod small;
