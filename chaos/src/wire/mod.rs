//! A network that drops the reply to what was done: the request goes through, the server commits and answers, and the client never
//! hears of it.
//!
//! To drop that reply and no other, it follows both protocols as far as it must: which request a reply belongs to, and whether it was
//! committed by then ([`postgres`], [`redis`]).

pub mod postgres;
pub mod redis;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{Error, Result};

/// A piece of what the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says that was done for good: the name of a statement or script that writes.
    pub done: Option<String>,
}

/// One connection, as far as it is understood.
pub trait Conversation: Send + 'static {
    /// Looks at what the client sends.
    fn requested(&mut self, bytes: &[u8]);

    /// Cuts what the server sends into pieces; keeps back what is no whole one yet.
    fn replied(&mut self, bytes: &[u8]) -> Vec<Piece>;
}

/// What is to be dropped, and what was.
#[derive(Debug, Default)]
struct Drops {
    /// How often each statement or script that writes was done.
    seen: BTreeMap<String, u64>,
    /// The next of these is dropped.
    next: Option<String>,
    dropped: BTreeMap<String, u64>,
}

impl Drops {
    /// Whether this piece is dropped.
    fn takes(&mut self, done: &str) -> bool {
        *self.seen.entry(done.to_owned()).or_default() += 1;
        if self.next.as_deref() != Some(done) {
            return false;
        }
        self.next = None;
        *self.dropped.entry(done.to_owned()).or_default() += 1;
        true
    }
}

/// Forwards connections to a port of 127.0.0.1. Ends when dropped.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    drops: Arc<Mutex<Drops>>,
    _accepting: JoinSet<()>,
}

impl Wire {
    /// Starts it before a port.
    pub async fn start<C: Conversation>(target: u16, new: fn() -> C) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let drops: Arc<Mutex<Drops>> = Arc::default();
        let mut accepting = JoinSet::new();
        let of_all = drops.clone();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                // An error of one side ends both.
                connections.spawn(forward(client, target, new(), of_all.clone()));
            }
        });
        Ok(Self { port, drops, _accepting: accepting })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The names of what writes, as far as it was seen.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.drops).seen.keys().cloned().collect()
    }

    /// Drops the next reply that says that this was done.
    pub fn drop_next(&self, done: &str) {
        lock(&self.drops).next = Some(done.to_owned());
    }

    /// Drops nothing more. Answers whether one was still to be dropped.
    pub fn spare(&self) -> bool {
        lock(&self.drops).next.take().is_some()
    }

    /// How many replies were dropped, by what they said.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        lock(&self.drops).dropped.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn forward<C: Conversation>(
    client: TcpStream,
    target: u16,
    conversation: C,
    drops: Arc<Mutex<Drops>>,
) {
    // What comes of it shows at both ends.
    let _ = talk(client, target, conversation, &drops).await;
}

async fn talk<C: Conversation>(
    client: TcpStream,
    target: u16,
    conversation: C,
    drops: &Mutex<Drops>,
) -> Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    for side in [&client, &server] {
        side.set_nodelay(true)?;
        // Both ends are reset when the connection is dropped.
        side.set_zero_linger()?;
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let conversation = Mutex::new(conversation);
    let requests = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                to_server.shutdown().await?;
                return Ok::<(), Error>(());
            }
            lock(&conversation).requested(&buffer[..read]);
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    let replies = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                to_client.shutdown().await?;
                return Ok::<(), Error>(());
            }
            let pieces = lock(&conversation).replied(&buffer[..read]);
            for piece in pieces {
                if piece.done.is_some_and(|done| lock(drops).takes(&done)) {
                    return Err("the reply is dropped".into());
                }
                to_client.write_all(&piece.bytes).await?;
            }
        }
    };
    tokio::try_join!(requests, replies)?;
    Ok(())
}
