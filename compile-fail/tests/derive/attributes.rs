use serde::{Deserialize, Serialize};
use windlass::Job;

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "send mail")]
struct OddKind;

#[derive(Job, Serialize, Deserialize)]
#[job(queue = media)]
struct BareQueue;

#[derive(Job, Serialize, Deserialize)]
#[job(queue)]
struct NoQueue;

#[derive(Job, Serialize, Deserialize)]
#[job(retries = 3)]
struct UnknownKey;

#[derive(Job, Serialize, Deserialize)]
#[job(timeout = "30 seconds")]
struct OddTimeout;

#[derive(Job, Serialize, Deserialize)]
#[job(timeout = "0s")]
struct ZeroTimeout;

#[derive(Job, Serialize, Deserialize)]
#[job(priority = 40000)]
struct FarPriority;

#[derive(Job, Serialize, Deserialize)]
#[job(max_attempts = 0)]
struct NoAttempts;

#[derive(Job, Serialize, Deserialize)]
#[job(max_attempts = "5")]
struct TextAttempts;

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "a", kind = "b")]
struct Twice;

#[derive(Job, Serialize, Deserialize)]
#[job(backoff(base = "1h", max = "1s"))]
struct Backwards;

#[derive(Job, Serialize, Deserialize)]
#[job(backoff(delay = "1h"))]
struct UnknownPart;

#[derive(Job, Serialize, Deserialize)]
#[job(backoff(jitter = 2))]
struct FarJitter;

fn main() {}
