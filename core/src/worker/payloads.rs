//! Args and results that are too large for their row.

use std::time::Duration;

use super::backoff::Pause;
use super::handler::Ended;
use super::shared::Shared;
use crate::storage::{blobs_in, load, offload};
use crate::{BlobKey, Encoding, Error, Payload, Result, Stop, Store};

/// How long an uploaded result waits for its settlement before it is deleted.
const STAGED: Duration = Duration::from_secs(24 * 3_600);
/// Uploads tried before the attempt fails.
const TRIES: u32 = 5;

/// The args themselves, wherever they are kept. Storage that can't be reached is an error like one of the handler's.
pub(crate) async fn resolve_args(shared: &Shared, args: Payload) -> Result<Payload, Ended> {
    if args.encoding == Encoding::Json {
        return Ok(args);
    }
    let max = shared.client.limits().payload;
    load(&**shared.client.storage(), args, max).await.map_err(|error| match error {
        Error::Decode { .. } => Ended::BadArgs(error),
        error => Ended::Returned(Err(Stop::retry(error))),
    })
}

/// What goes into the row for a result, and the blobs that it refers to.
pub(crate) async fn offload_result(
    shared: &Shared,
    result: Payload,
) -> Result<(Option<Payload>, Vec<BlobKey>)> {
    if &*result.bytes == b"null" {
        return Ok((None, Vec::new()));
    }
    let mut blobs = blobs_in(&result.bytes)?;
    if result.bytes.len() <= shared.client.limits().inline_result {
        return Ok((Some(result), blobs));
    }
    let mut pause = Pause::after_error();
    for _ in 1..TRIES {
        match upload(shared, result.clone()).await {
            Err(error) if error.is_transient() => tokio::time::sleep(pause.next()).await,
            Err(error) => return Err(error),
            Ok((row, key)) => {
                blobs.extend(key);
                return Ok((Some(row), blobs));
            }
        }
    }
    let (row, key) = upload(shared, result).await?;
    blobs.extend(key);
    Ok((Some(row), blobs))
}

async fn upload(shared: &Shared, result: Payload) -> Result<(Payload, Option<BlobKey>)> {
    let limits = shared.client.limits();
    let key = BlobKey::fresh("results")?;
    let store: &dyn Store = &**shared.client.backend();
    shared.call("stage_blobs", store.stage_blobs(std::slice::from_ref(&key), STAGED)).await?;
    let storage = &**shared.client.storage();
    let (row, blob) = offload(storage, &key, result, limits.inline_result, limits.payload).await?;
    Ok((row, blob.map(|blob| blob.key)))
}
