use serde::{Deserialize, Serialize};
use windlass::{Client, Context, Job, Outcome, Worker};

#[derive(Job, Serialize, Deserialize)]
#[job(output = String)]
struct Greet;

async fn no_context(_: Greet) -> Outcome<String> {
    Ok(String::new())
}

async fn other_output(_: Greet, _: Context) -> Outcome<u32> {
    Ok(0)
}

struct App;

async fn other_state(_: Greet, _: Context<App>) -> Outcome<String> {
    Ok(String::new())
}

async fn no_job(_: u32, _: Context) -> Outcome<String> {
    Ok(String::new())
}

fn not_async(_: Greet, _: Context) -> Outcome<String> {
    Ok(String::new())
}

fn register(client: &Client) {
    let _ = Worker::new(client).register(no_context);
    let _ = Worker::new(client).register(other_output);
    let _ = Worker::new(client).register(other_state);
    let _ = Worker::new(client).register(no_job);
    let _ = Worker::new(client).register(not_async);
}

fn main() {}
