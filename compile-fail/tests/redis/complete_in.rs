use std::sync::Arc;

use windlass::redis::RedisBackend;
use windlass::{Client, Context, NewJob};

async fn misuse(client: Client<RedisBackend>, cx: &Context, connection: &mut (), jobs: Vec<NewJob>) {
    client.insert_in(connection, jobs).await.unwrap();
    client.complete_in(connection, cx, &()).await.unwrap();
}

fn main() {
    let _ = Arc::new(misuse);
}
