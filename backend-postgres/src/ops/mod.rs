//! What the trait methods do inside a transaction, one file per subject.

pub(crate) mod apply;
pub(crate) mod blobs;
pub(crate) mod bounds;
pub(crate) mod change;
pub(crate) mod claim;
mod heads;
pub(crate) mod insert;
pub(crate) mod maintain;
pub(crate) mod notes;
pub(crate) mod pace;
pub(crate) mod plain;
pub(crate) mod prune;
pub(crate) mod record;
pub(crate) mod settings;
pub(crate) mod settle;
pub(crate) mod stored;
pub(crate) mod under_way;
pub(crate) mod unique;
