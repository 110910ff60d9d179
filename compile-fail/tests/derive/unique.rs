use serde::{Deserialize, Serialize};
use windlass::Job;

#[derive(Job, Serialize, Deserialize)]
#[job(unique(key = "costumer"))]
struct NoField {
    customer: String,
    cents: u64,
}

#[derive(Job, Serialize, Deserialize)]
#[job(unique(fields()))]
struct NoFields {
    customer: String,
}

#[derive(Job, Serialize, Deserialize)]
#[job(unique(key = "a"))]
enum OnlyAStruct {
    A,
}

#[derive(Job, Serialize, Deserialize)]
#[job(unique(until = "done"))]
struct OddUntil;

#[derive(Job, Serialize, Deserialize)]
#[job(unique(on_conflict = "ignore"))]
struct OddConflict;

#[derive(Job, Serialize, Deserialize)]
#[job(unique = "customer")]
struct OddForm {
    customer: String,
}

fn main() {}
