//! [`ObjectStorage::s3`]: blobs in a bucket of S3, or of a store that speaks its protocol.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use rustls::crypto::{CryptoProvider, ring};

use super::object_error as failure;
use super::place::{Place, config};
use super::{BlobKey, ObjectStorage, PresignMethod, Presigner};
use crate::Result;

/// How long one call is repeated by itself. Callers of a storage repeat calls too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which bucket, and how to reach it.
///
/// ```
/// # use std::sync::Arc;
/// use windlass_core::storage::{ObjectStorage, S3Options};
///
/// # fn example(client: windlass_core::Client) -> windlass_core::Result<windlass_core::Client> {
/// let storage = ObjectStorage::s3(S3Options::from_url("s3://documents/jobs?region=eu-central-1")?)?;
/// Ok(client.with_storage(Arc::new(storage)))
/// # }
/// ```
#[derive(Clone)]
pub struct S3Options {
    builder: AmazonS3Builder,
    prefix: Option<BlobKey>,
}

impl fmt::Debug for S3Options {
    /// The driver's options hold the secret key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl S3Options {
    /// Reads `s3://bucket`, or `s3://bucket/prefix` to share a bucket. Parameters are `endpoint`, the address of a store that isn't Amazon's, and
    /// `region`: `s3://bucket?endpoint=https://s3.example.org&region=eu-central-1`.
    ///
    /// What the URL doesn't say comes from the usual environment variables: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`,
    /// `AWS_REGION` and so on. On Amazon's own machines the credentials can come from there.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the part of the URL that can't be used; it shows no value.
    pub fn from_url(url: &str) -> Result<Self> {
        let place = Place::parse(url)?;
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(place.bucket);
        if let Some(endpoint) = place.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = place.region {
            builder = builder.with_region(region);
        }
        Ok(Self { builder, prefix: place.prefix })
    }

    /// Uses this key instead of what the environment has.
    #[must_use]
    pub fn credentials(mut self, key_id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.builder =
            self.builder.with_access_key_id(key_id.into()).with_secret_access_key(secret.into());
        self
    }
}

impl ObjectStorage {
    /// Blobs in a bucket of S3, or of a store that speaks its protocol. Presigned URLs work. Nothing is sent before the first call.
    ///
    /// TLS is rustls', with the cryptography that the process has chosen; where it has chosen none, that is ring from here on.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options, of the environment too, that don't fit together.
    pub fn s3(options: S3Options) -> Result<Self> {
        let S3Options { mut builder, prefix } = options;
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
            builder = builder.with_allow_http(true);
        }
        // The driver takes the cryptography of the process, and panics when there is none.
        if CryptoProvider::get_default().is_none() {
            // Another thread may have been faster.
            let _ = ring::default_provider().install_default();
        }
        let retry = RetryConfig { max_retries: 5, retry_timeout: PATIENCE, ..Default::default() };
        let store = builder.with_retry(retry).build().map_err(|_| {
            config("the settings of S3 can't be used: look at the endpoint, the region and the environment variables `AWS_…`")
        })?;
        let store = Arc::new(store);
        let storage = Self::new(store.clone()).with_presigner(Arc::new(S3(store))).lists_in_order();
        Ok(match prefix {
            Some(prefix) => storage.with_prefix(prefix),
            None => storage,
        })
    }
}

#[derive(Debug)]
struct S3(Arc<AmazonS3>);

#[async_trait]
impl Presigner for S3 {
    async fn presign(
        &self,
        path: &Path,
        method: PresignMethod,
        expires_in: Duration,
    ) -> Result<String> {
        let method = match method {
            PresignMethod::Get => Method::GET,
            PresignMethod::Put => Method::PUT,
        };
        let url = self.0.signed_url(method, path, expires_in).await;
        url.map(String::from).map_err(|e| failure::of_call("presign", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_can_not_be_used_is_refused_with_the_way_out() {
        for (url, part) in [
            ("https://bucket", "start with `s3://`"),
            ("s3://", "names no bucket"),
            ("s3://user:secret@host/bucket", "credentials belong into the environment"),
            ("s3://b?endpoint=host", "`endpoint` must start"),
            ("s3://b?region=", "unknown parameter"),
            ("s3://b?secret=secret", "unknown parameter"),
            ("s3://b/../x", "blob key"),
        ] {
            let error = S3Options::from_url(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret@"), "{url}: {error}");
        }
    }
}
