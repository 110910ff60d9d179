//! What must hold wherever the service keeps its things.

mod files;
mod flow;
mod users;

pub use files::*;
pub use flow::*;
pub use users::*;
