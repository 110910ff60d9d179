use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass::redis::RedisBackend;
use windlass::{Client, Job};

#[derive(Job, Serialize, Deserialize)]
struct Mail;

async fn misuse(client: Client<RedisBackend>, connection: &mut ()) {
    client.enqueue_in(connection, Mail).await.unwrap();
}

fn main() {
    let _ = Arc::new(misuse);
}
