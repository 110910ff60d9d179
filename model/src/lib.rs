//! Evidence that needs no server: models and simulations that the Windlass job library is checked with.
//!
//! - [`small`]: the fence, with two workers and two jobs, explored in every order of events.
//! - [`ops`]: random operations on the memory backend and on a real one, with the same answers.
//! - [`sim`]: the worker runtime in a simulated world, as a seed decides.
//!
//! `README.md` says how to run them, and how to repeat a failure.
#![forbid(unsafe_code)]

pub mod ops;
pub mod sim;
pub mod small;
