//! The README's first example.
use serde::{Deserialize, Serialize};
use windlass::{Context, Job, Outcome, Worker};

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "greet", output = String)]
struct Greet {
    name: String,
}

async fn greet(job: Greet, cx: Context) -> Outcome<String> {
    Ok(format!("Hello, {}! (attempt {})", job.name, cx.attempt()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = windlass::connect("sqlite:quickstart.db").await?;
    let worker = Worker::new(&client).register(greet).queue("default", 8).start()?;

    let job = client.enqueue(Greet { name: "world".into() }).await?;
    println!("{}", job.result().await?);

    worker.stop().await?;
    Ok(())
}
