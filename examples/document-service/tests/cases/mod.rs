//! What must hold wherever the service keeps its things.

mod events;
mod faults;
mod files;
mod flow;
mod users;

pub use events::*;
pub use faults::*;
pub use files::*;
pub use flow::*;
pub use users::*;
