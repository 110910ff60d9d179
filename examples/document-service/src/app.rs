//! What the parts of the program share, opened from its options.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass::storage::{ObjectStorage, PresignMethod, S3Options, put_bytes};
use windlass::{BlobKey, Client, Storage};

use crate::data::Data;
use crate::{Fatal, Options, Results};

/// How long a dependency may take to answer at the start.
const OPENING: Duration = Duration::from_secs(30);
/// An object that is there as long as the storage is.
const MARKER: &str = "service/marker";

pub struct App {
    pub data: Data,
    /// Where jobs run, and their files are.
    pub jobs: Client,
    /// What tells that the storage is the one we opened.
    pub marker: BlobKey,
    /// What makes the URLs by which clients get results from the storage itself; without it they get them from us.
    pub public: Option<Arc<dyn Storage>>,
    pub max_file: u64,
    pub token_ttl: Duration,
    pub slow: Duration,
    /// Fires when the program is to end.
    pub stop: CancellationToken,
}

pub async fn open(options: &Options) -> Result<App, Fatal> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir)
        .map_err(|e| format!("the folder `{}` can't be made: {e}", dir.display()))?;
    let storage = storage(set(&options.storage), dir).await?;
    let public = public(options, &storage).await?;
    let marker = BlobKey::new(MARKER)?;
    let probe = tokio::time::timeout(OPENING, put_bytes(&*storage, &marker, "document-service"));
    let probed = probe.await.map_err(|_| "the storage does not answer: look at `--storage`")?;
    probed.map_err(|e| {
        format!(
            "the storage can't be written, look at `--storage`: {}",
            crate::error::with_causes(&e)
        )
    })?;
    let (data, jobs) =
        Data::open(set(&options.database), set(&options.jobs), dir, &storage).await?;
    Ok(App {
        data,
        jobs,
        marker,
        public,
        max_file: options.max_file,
        token_ttl: Duration::from_secs(options.token_ttl.into()),
        slow: Duration::from_millis(options.slow),
        stop: CancellationToken::new(),
    })
}

/// Files of variables set what they leave empty.
pub fn set(option: &Option<String>) -> Option<&str> {
    option.as_deref().filter(|text| !text.is_empty())
}

/// What makes URLs, if results are to be had from the storage itself.
async fn public(
    options: &Options,
    storage: &Arc<dyn Storage>,
) -> Result<Option<Arc<dyn Storage>>, Fatal> {
    let public: Option<Arc<dyn Storage>> = match set(&options.public_storage) {
        Some(url) => {
            let url = S3Options::from_url(url).map_err(|e| format!("`--public-storage`: {e}"))?;
            Some(Arc::new(ObjectStorage::s3(url)?))
        }
        None => None,
    };
    let stream = if public.is_some() { Results::Redirect } else { Results::Stream };
    if options.results.unwrap_or(stream) == Results::Stream {
        return Ok(None);
    }
    let own = storage.presign(&BlobKey::new(MARKER)?, PresignMethod::Get, OPENING).await;
    if matches!(own, Err(windlass::Error::Unsupported { .. })) {
        return Err("`--results redirect` and `--public-storage` need an object store: give one by `--storage s3://…`".into());
    }
    Ok(Some(public.unwrap_or_else(|| storage.clone())))
}

async fn storage(place: Option<&str>, dir: &Path) -> Result<Arc<dyn Storage>, Fatal> {
    Ok(match place {
        None => Arc::new(ObjectStorage::local(dir.join("files")).await?),
        Some(url) if url.starts_with("s3:") => {
            Arc::new(ObjectStorage::s3(S3Options::from_url(url)?)?)
        }
        Some(url) if url.contains("://") => {
            return Err("`--storage` takes a folder, or `s3://bucket/prefix`".into());
        }
        Some(folder) => Arc::new(ObjectStorage::local(folder).await?),
    })
}
