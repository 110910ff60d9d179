//! Identifiers and the fence.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $new:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id.
            #[must_use]
            #[allow(clippy::new_without_default)] // a default that differs each time would surprise
            pub fn new() -> Self {
                Self(Uuid::$new())
            }

            /// Wraps an existing UUID.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// The 16 bytes, big-endian, in the order in which ids sort.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads the 16 bytes that [`as_bytes`](Self::as_bytes) gave.
            ///
            /// # Errors
            /// [`Error::Invalid`] when there are not exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| {
                    Error::invalid($what, format!("{} bytes found where 16 belong", bytes.len()))
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| Error::invalid($what, "expected a UUID such as 0197c4b2-90c5-7a3e-8f64-1d2b3c4d5e6f"))
            }
        }
    };
}

uuid_id!(
    /// The id of a job: a UUIDv7 made by the client, so that every enqueue can be repeated safely.
    JobId, "job id", now_v7
);
uuid_id!(
    /// One incarnation of a worker. A restarted or re-registered worker has a fresh one.
    WorkerId, "worker id", now_v7
);
uuid_id!(
    /// The nonce of one claim call. After a failover an epoch can be issued twice; a claim id can't.
    ClaimId, "claim id", new_v4
);

impl JobId {
    /// An id that follows from a text (a UUIDv8 from its SHA-256): the same text, the same job. For enqueues that must
    /// stay one job however often and wherever they are repeated. Such ids don't follow the time in listings.
    #[must_use]
    pub fn derived(text: &str) -> Self {
        use sha2::{Digest, Sha256};
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

/// Grows by one at each claim and each rescue of a job.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The fence: what an owner shows with every write. A write whose key is not the one on the row is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseKey {
    /// The job.
    pub job: JobId,
    /// Its epoch at the claim.
    pub epoch: Epoch,
    /// The claim call that took it.
    pub claim_id: ClaimId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_follow_from_the_text_alone() {
        assert_eq!(JobId::derived("a"), JobId::derived("a"));
        assert_ne!(JobId::derived("a"), JobId::derived("b"));
        assert_eq!(JobId::derived("a").as_uuid().get_version_num(), 8);
    }

    #[test]
    fn ids_survive_text_and_bytes() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        assert_eq!(JobId::from_slice(id.as_bytes()).unwrap(), id);
        assert!(JobId::from_slice(b"short").is_err());
        assert!("no".parse::<JobId>().unwrap_err().to_string().starts_with("invalid job id"));
    }
}
