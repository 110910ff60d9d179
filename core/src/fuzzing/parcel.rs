//! Entries of an outbox.

use std::time::Duration;

use arbitrary::Unstructured;

use super::{check_told, made};
use crate::outbox::OutboxEntry;
use crate::outbox::parcel::{pack, unpack};
use crate::{JobId, NewJob, OnConflict, Start};

/// Bytes as an entry, and a job that is made of them.
pub fn parcel(data: &[u8]) {
    let entry = OutboxEntry { id: JobId::derived("fuzzing"), body: data.to_vec().into() };
    for waited in [Duration::ZERO, Duration::from_secs(60), Duration::MAX] {
        match unpack(&entry, waited) {
            Ok(job) => again(job),
            Err(error) => check_told(&error),
        }
    }
    if let Ok(job) = made::job(&mut Unstructured::new(data)) {
        again(job);
    }
}

/// A job comes out as it went in.
fn again(mut job: NewJob) {
    let replaces =
        job.unique.as_ref().is_some_and(|unique| unique.on_conflict == OnConflict::Replace);
    match pack(&job) {
        Ok(entry) => {
            assert!(!replaces);
            if job.start == Start::In(Duration::ZERO) {
                job.start = Start::Now;
            }
            assert_eq!(unpack(&entry, Duration::ZERO).unwrap(), job);
        }
        Err(error) => assert!(replaces, "{error}"),
    }
}
