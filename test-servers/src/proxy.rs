//! A network that fails when told to.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Result};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::{Context, Result as KitResult};
use crate::port;

/// Which bytes a [`Proxy`] keeps to itself. It still takes them, and forwards them when the stall ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// None: all are forwarded.
    Off,
    /// What clients send.
    Requests,
    /// What the server answers. With a [cut](Proxy::cut) afterwards: the server did what was asked, and the client never knows.
    Replies,
    /// Both.
    All,
}

impl Stall {
    fn requests(self) -> bool {
        matches!(self, Self::Requests | Self::All)
    }

    fn replies(self) -> bool {
        matches!(self, Self::Replies | Self::All)
    }
}

#[derive(Debug, Clone, Copy)]
struct Faults {
    stall: Stall,
    /// The first connection that is not stalled.
    spared: u64,
    delay: Duration,
}

/// Forwards TCP connections to a port of 127.0.0.1. Its tasks live on the runtime that started it, and end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    target: u16,
    faults: watch::Sender<Faults>,
    /// How many connections there were.
    count: Arc<AtomicU64>,
    /// How many pieces of data were held back.
    held: Arc<AtomicU64>,
    connections: Arc<Mutex<JoinSet<()>>>,
    /// The task that accepts; none while connections are refused.
    accepting: tokio::sync::Mutex<JoinSet<()>>,
}

impl Proxy {
    /// Starts a proxy before a port of 127.0.0.1.
    pub async fn start(target: u16) -> KitResult<Self> {
        let faults = watch::Sender::new(Faults {
            stall: Stall::Off,
            spared: u64::MAX,
            delay: Duration::ZERO,
        });
        let mut proxy = Self {
            port: 0,
            target,
            faults,
            count: Arc::default(),
            held: Arc::default(),
            connections: Arc::default(),
            accepting: tokio::sync::Mutex::default(),
        };
        for again in (0..5).rev() {
            proxy.port = port::free()?;
            match proxy.accept().await {
                Err(e) if again == 0 => return Err(e),
                // Another process was faster.
                Err(_) => {}
                Ok(()) => break,
            }
        }
        Ok(proxy)
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, as by a reset. New ones are still accepted. Answers how many there were.
    pub async fn cut(&self) -> usize {
        let mut cut =
            std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        // Those that have ended by themselves are not cut.
        while cut.try_join_next().is_some() {}
        let open = cut.len();
        cut.shutdown().await;
        open
    }

    /// How many pieces of data a delay or a stall has held back so far.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }

    /// Refuses new connections. Those that are open stay.
    pub async fn refuse(&self) {
        self.accepting.lock().await.shutdown().await;
    }

    /// Accepts connections again.
    pub async fn accept(&self) -> KitResult<()> {
        let mut accepting = self.accepting.lock().await;
        if !accepting.is_empty() {
            return Ok(());
        }
        let at = (Ipv4Addr::LOCALHOST, self.port);
        let listener =
            TcpListener::bind(at).await.context(|| format!("127.0.0.1:{}", self.port))?;
        let (target, faults, connections) =
            (self.target, self.faults.subscribe(), Arc::clone(&self.connections));
        let (count, held) = (Arc::clone(&self.count), Arc::clone(&self.held));
        accepting.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (faults, held) = (faults.clone(), Arc::clone(&held));
                let number = count.fetch_add(1, Ordering::SeqCst);
                let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
                while connections.try_join_next().is_some() {}
                // An error of one side ends both.
                connections.spawn(async move {
                    forward(client, target, faults, number, &held).await.unwrap_or_default()
                });
            }
        });
        Ok(())
    }

    /// Holds back each piece of data for that long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Forwards nothing more, or everything again.
    pub fn stall(&self, stall: Stall) {
        self.stall_below(stall, u64::MAX);
    }

    /// Stalls the connections that there are; new ones are forwarded.
    pub fn stall_open(&self, stall: Stall) {
        self.stall_below(stall, self.count.load(Ordering::SeqCst));
    }

    fn stall_below(&self, stall: Stall, spared: u64) {
        self.faults.send_modify(|faults| (faults.stall, faults.spared) = (stall, spared));
    }
}

async fn forward(
    client: TcpStream,
    target: u16,
    faults: watch::Receiver<Faults>,
    number: u64,
    held: &AtomicU64,
) -> Result<()> {
    // A reset, when they are dropped with data or not: an orderly end is the kinder fault.
    client.set_zero_linger()?;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    server.set_zero_linger()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        pump(from_client, to_server, faults.clone(), number, Stall::requests, held),
        pump(from_server, to_client, faults, number, Stall::replies, held),
    )?;
    Ok(())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
    number: u64,
    stalled: fn(Stall) -> bool,
    held: &AtomicU64,
) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let free = |faults: &Faults| number >= faults.spared || !stalled(faults.stall);
        let (delay, passes) = {
            let faults = faults.borrow();
            (faults.delay, free(&faults))
        };
        if read > 0 && (!passes || !delay.is_zero()) {
            held.fetch_add(1, Ordering::SeqCst);
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if faults.wait_for(free).await.is_err() {
            return Ok(()); // The proxy was dropped.
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
