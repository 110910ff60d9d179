//! One module per operation. Each runs inside an open [`Txn`](crate::txn::Txn), so that the writer, which
//! groups many into one commit, and the host's own transactions share it.

pub(crate) mod apply;
pub(crate) mod aside;
pub(crate) mod blobs;
pub(crate) mod change;
pub(crate) mod claim;
pub(crate) mod completed;
#[cfg(test)]
mod guards;
pub(crate) mod insert;
pub(crate) mod maintain;
pub(crate) mod memory;
pub(crate) mod notes;
pub(crate) mod outbox;
pub(crate) mod picked;
pub(crate) mod prune;
pub(crate) mod record;
pub(crate) mod settings;
pub(crate) mod settle;
pub(crate) mod shapes;
pub(crate) mod stored;
pub(crate) mod unique;
pub(crate) mod worker;
