//! Length and SHA-256 of bytes that pass by.

use std::fmt::Write;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// How much is hashed before other tasks get their turn.
const STRIDE: usize = 64 << 10;

/// Length and SHA-256 of the bytes seen so far.
#[derive(Clone, Default)]
pub(super) struct Tally {
    hash: Sha256,
    pub(super) len: u64,
}

impl Tally {
    /// Takes in a chunk; a large one in strides, so that it doesn't hold up the runtime.
    pub(super) async fn add(&mut self, chunk: &Bytes) {
        for part in chunk.chunks(STRIDE) {
            self.hash.update(part);
            tokio::task::consume_budget().await;
        }
        self.len += chunk.len() as u64;
    }

    /// The SHA-256 in lower-case hexadecimal.
    pub(super) fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing into a String can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}
