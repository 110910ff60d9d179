//! What a server is asked.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use redis::aio::MultiplexedConnection;
use windlass_core::JobId;

use super::Place;

/// Hears every command that the server runs, those of scripts too.
pub(crate) struct Watch {
    lines: Pin<Box<dyn Stream<Item = String> + Send>>,
    conn: MultiplexedConnection,
    namespace: String,
}

impl Watch {
    pub(crate) async fn of(place: &Place) -> Self {
        let client = redis::Client::open(place.url.as_str()).unwrap();
        let monitor = client.get_async_monitor().await.unwrap();
        let lines = Box::pin(monitor.into_on_message::<String>());
        Self { lines, conn: place.conn.clone(), namespace: place.namespace.clone() }
    }

    /// The commands about the namespace since the watch began, or since the last call.
    pub(crate) async fn heard(&mut self) -> Vec<Asked> {
        let end = JobId::new().to_string();
        let () = redis::cmd("ECHO").arg(&end).query_async(&mut self.conn).await.unwrap();
        let mut heard = Vec::new();
        while let Some(line) = self.lines.next().await {
            if line.contains(&end) {
                return heard;
            }
            if !line.contains(&self.namespace) {
                continue;
            }
            let asked = Asked::read(&line);
            // A script that the server did not know ran when it was sent whole.
            if asked.command == "EVAL" {
                heard.pop_if(|last: &mut Asked| last.command == "EVALSHA" && last.by == asked.by);
            }
            heard.push(asked);
        }
        panic!("the server ended the watch");
    }
}

/// A command that a server ran.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `lua`, or the address of the client.
    pub(crate) by: String,
    /// In capitals.
    pub(crate) command: String,
    /// As the server quotes them.
    pub(crate) args: Vec<String>,
}

impl Asked {
    /// Reads `time [database client] "command" "arg" …`.
    fn read(line: &str) -> Self {
        let (head, words) = line.split_once("] ").unwrap();
        let by = head.rsplit(' ').next().unwrap().to_owned();
        let mut words = words.trim_matches('"').split("\" \"").map(str::to_owned);
        let command = words.next().unwrap().to_uppercase();
        Self { by, command, args: words.collect() }
    }

    pub(crate) fn is_script(&self) -> bool {
        matches!(self.command.as_str(), "EVALSHA" | "EVAL")
    }
}
