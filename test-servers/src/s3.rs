//! An object store that speaks S3's protocol over HTTP and checks signatures. It runs in the test process itself.

use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::{Context, Result};

const BUCKET: &str = "test";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// A store with one bucket, which keeps its objects as files in a folder of its own. It is gone when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    folder: TempDir,
    address: std::net::SocketAddr,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Starts a store on a free port.
    ///
    /// # Errors
    /// When no folder can be made or no port be had.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context(|| "a folder for objects".to_owned())?;
        std::fs::create_dir(folder.path().join(BUCKET)).context(|| "the bucket".to_owned())?;
        let files = FileSystem::new(folder.path())
            .map_err(|e| crate::Error::new(format!("the object store's folder: {e:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.context(|| "a port for the object store".to_owned())?;
        let address = listener.local_addr().context(|| "the object store's port".to_owned())?;
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // A client that goes away is no matter of the test.
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { folder, address, accepting })
    }

    /// The bucket, as a URL that `S3Options` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}?endpoint=http://{}&region=us-east-1", self.address)
    }

    /// The id of the key that the store knows.
    #[must_use]
    pub fn key_id(&self) -> &'static str {
        KEY
    }

    /// The key's secret.
    #[must_use]
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// The folder with the bucket's objects, each a file named by its key.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
