use windlass::Client;

struct NotAJob;

fn enqueue(client: &Client) {
    let _ = client.enqueue(NotAJob);
}

fn main() {}
