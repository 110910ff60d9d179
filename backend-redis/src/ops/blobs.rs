//! The account of blobs: who refers to them, which are staged, which are to be deleted.

use std::time::Duration;

use windlass_core::kit::micros;
use windlass_core::{BlobKey, Result};

use super::at_most;
use crate::backend::Inner;
use crate::script::Args;
use crate::wire;

/// Keys in one script.
const AT_ONCE: usize = 1_000;

pub(crate) async fn stage(inner: &Inner, keys: &[BlobKey], ttl: Duration) -> Result<()> {
    let batch = inner.options.limits.batch;
    at_most("blobs in one staging", keys.len(), batch, "stage in several calls")?;
    for some in keys.chunks(AT_ONCE) {
        let args = names(Args::new().int(micros(ttl)), some);
        inner.call("stage_blobs", &inner.scripts.stage_blobs, args).await?;
    }
    Ok(())
}

pub(crate) async fn deleted(inner: &Inner, keys: &[BlobKey]) -> Result<()> {
    for some in keys.chunks(AT_ONCE) {
        let args = names(Args::new(), some);
        inner.call("blobs_deleted", &inner.scripts.blobs_deleted, args).await?;
    }
    Ok(())
}

fn names(args: Args, keys: &[BlobKey]) -> Args {
    keys.iter().fold(args, |args, key| args.bytes(key.as_str()))
}

/// Names blobs to delete.
pub(crate) async fn doomed(inner: &Inner) -> Result<Vec<BlobKey>> {
    let most = inner.options.limits.batch.min(AT_ONCE);
    let args = Args::new().int(most);
    let keys = wire::list(inner.call("prune", &inner.scripts.prune_blobs, args).await?)?;
    keys.into_iter().map(|key| BlobKey::new(wire::text(key)?)).collect()
}
