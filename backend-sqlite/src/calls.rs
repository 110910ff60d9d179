//! The trait methods that write, as operations for the writer.

use std::time::Duration;

use async_trait::async_trait;
use windlass_core::outbox::{PutBack, TakenEntry};
use windlass_core::{
    Beat, BlobKey, Change, Changed, ClaimRequest, Claimed, Cursor, Heartbeat, JobId, Maintained,
    Note, Pruned, QueueChange, QueueName, QueueSettings, Record, Recorded, Result, Retention,
    Selector, Settled, Settlement, WorkerId, WorkerInfo, WorkerLease,
};

use crate::ops;
use crate::ops::memory::Memory;
use crate::script::Script;
use crate::txn::Txn;
use crate::writer::Operation;

/// Declares an operation: its fields are the arguments, its body runs in the transaction.
macro_rules! operation {
    ($name:ident { $($field:ident: $type:ty),* $(,)? } as $during:literal -> $output:ty,
     weight $weight:expr, $(look $look:expr,)? $(knows $knows:expr,)? |$this:ident, $txn:ident| $body:expr) => {
        pub(crate) struct $name { $(pub(crate) $field: $type),* }

        #[async_trait]
        impl Operation for $name {
            type Output = $output;
            const NAME: &'static str = $during;

            async fn run(&self, $txn: &mut Txn<'_>) -> Result<$output> {
                let $this = self;
                $body
            }

            $(fn look(&self, memory: &Memory) -> Option<Script> {
                let look: fn(&Self, &Memory) -> Option<Script> = $look;
                look(self, memory)
            })?

            $(fn knows(&self, memory: &Memory) -> bool {
                let knows: fn(&Self, &Memory) -> bool = $knows;
                knows(self, memory)
            })?

            fn weight(&self) -> usize {
                let weight: fn(&Self) -> usize = $weight;
                weight(self)
            }
        }
    };
}

operation!(Register { info: WorkerInfo } as "register" -> WorkerLease,
    weight |_| 1, |this, txn| ops::worker::register(txn, &this.info).await);
operation!(Beats { beats: Vec<Beat> } as "heartbeat" -> Vec<Heartbeat>,
    weight |this| this.beats.len(), |this, txn| ops::worker::heartbeats(txn, &this.beats).await);
operation!(Deregister { worker: WorkerId } as "deregister" -> (),
    weight |_| 1, |this, txn| ops::worker::deregister(txn, this.worker).await);
operation!(Claim { request: ClaimRequest } as "claim" -> Claimed,
    weight |this| this.request.queues.iter().map(|slots| slots.limit as usize).sum(),
    look |this, memory| Some(ops::claim::look(&this.request, memory)),
    |this, txn| ops::claim::claim(txn, &this.request).await);
operation!(Settle { settlements: Vec<Settlement> } as "settle" -> Vec<Settled>,
    weight |this| this.settlements.len(),
    look |this, _| ops::settle::look(&this.settlements).map(Script::from),
    knows |this, memory| ops::settle::knows(&this.settlements, memory),
    |this, txn| ops::settle::settle(txn, &this.settlements).await);
operation!(Ping {} as "ping" -> (), weight |_| 1, |_this, txn| {
    // Moving the clock's high-water mark is a write like any other.
    txn.touch();
    Ok(())
});
operation!(Records { records: Vec<Record> } as "record" -> Vec<Recorded>,
    weight |this| this.records.len(),
    |this, txn| ops::record::record(txn, &this.records).await);
operation!(Maintain { limit: u32 } as "maintain" -> Maintained,
    weight |this| this.limit as usize, |this, txn| ops::maintain::maintain(txn, this.limit).await);
operation!(ChangeJobs { target: Selector, change: Change, after: Option<Cursor> } as "change" -> Changed,
    weight |_| 1_000,
    |this, txn| ops::change::change(txn, &this.target, &this.change, this.after.as_ref()).await);
operation!(Append { id: JobId, notes: Vec<Note> } as "append" -> (),
    weight |this| this.notes.len(),
    |this, txn| ops::record::append(txn, this.id, &this.notes).await);
operation!(ConfigureQueue { name: QueueName, change: QueueChange } as "configure_queue" -> QueueSettings,
    weight |_| 1, |this, txn| ops::settings::configure(txn, &this.name, &this.change).await);
operation!(StageBlobs { keys: Vec<BlobKey>, ttl: Duration } as "stage_blobs" -> (),
    weight |this| this.keys.len(),
    |this, txn| ops::prune::stage(txn, &this.keys, this.ttl).await);
operation!(BlobsDeleted { keys: Vec<BlobKey> } as "blobs_deleted" -> (),
    weight |this| this.keys.len(),
    |this, txn| ops::prune::deleted(txn, &this.keys).await);
operation!(Prune { retention: Retention, limit: u32 } as "prune" -> Pruned,
    weight |this| this.limit as usize,
    |this, txn| ops::prune::prune(txn, &this.retention, this.limit).await);
operation!(Take { limit: u32, hold: Duration } as "take" -> Vec<TakenEntry>,
    weight |this| this.limit as usize,
    |this, txn| ops::outbox::take(txn, this.limit, this.hold).await);
operation!(Delivered { ids: Vec<JobId> } as "delivered" -> (),
    weight |this| this.ids.len(), |this, txn| {
    ops::outbox::delivered(txn, &this.ids);
    Ok(())
});
operation!(PutBacks { entries: Vec<PutBack> } as "put_back" -> (),
    weight |this| this.entries.len(), |this, txn| {
    ops::outbox::put_back(txn, &this.entries);
    Ok(())
});
