//! A client that is still sending must be able to read why its request is refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt, stream};

/// What is taken in of a request that is answered already.
const MOST: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(10);

/// Answers once the body has come, within bounds: when a connection is closed over bytes that nobody took, clients that send all of a body before
/// they read lose the answer.
pub async fn drain(request: Request, next: Next) -> Response {
    // Such a client sends nothing until somebody wants to read it.
    let waits = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let body = Shared {
        stream: Arc::new(Mutex::new(body.into_data_stream())),
        begun: Arc::new(AtomicBool::new(!waits)),
    };
    let answer = next.run(Request::from_parts(parts, Body::from_stream(body.clone().read()))).await;
    if body.begun.load(Ordering::Relaxed) {
        let rest = body.read().scan(MOST, |left, chunk| {
            *left = left.saturating_sub(chunk.map_or(MOST, |chunk| chunk.len()));
            std::future::ready((*left > 0).then_some(()))
        });
        let _ = tokio::time::timeout(LONGEST, rest.for_each(|()| std::future::ready(()))).await;
    }
    answer
}

/// A body that the one goes on reading where the other has stopped.
#[derive(Clone)]
struct Shared {
    stream: Arc<Mutex<BodyDataStream>>,
    begun: Arc<AtomicBool>,
}

impl Shared {
    fn read(self) -> impl futures_util::Stream<Item = Result<bytes::Bytes, axum::Error>> {
        stream::poll_fn(move |cx| {
            self.begun.store(true, Ordering::Relaxed);
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            stream.poll_next_unpin(cx)
        })
    }
}
