//! The proxy's faults, before a server that echoes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use windlass_test_servers::{Proxy, Stall};

/// A proxy before a server that sends back each byte, and what that server has received.
async fn echo() -> (Proxy, tokio::sync::mpsc::UnboundedReceiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();
    let (received, seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let received = received.clone();
            tokio::spawn(async move {
                while let Ok(byte) = client.read_u8().await {
                    let _ = received.send(byte);
                    if client.write_u8(byte).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (proxy, seen)
}

async fn connect(proxy: &Proxy) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", proxy.port())).await
}

async fn ask(client: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    client.write_u8(byte).await?;
    client.read_u8().await
}

#[tokio::test]
async fn a_cut_ends_what_is_open_and_nothing_else() {
    let (proxy, _seen) = echo().await;
    let mut client = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut client, 1).await.unwrap(), 1);
    assert_eq!(proxy.cut().await, 1);
    ask(&mut client, 2).await.unwrap_err();
    // There is none any more.
    assert_eq!(proxy.cut().await, 0);
    let mut client = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut client, 3).await.unwrap(), 3);
}

#[tokio::test]
async fn refusing_keeps_what_is_open() {
    let (proxy, _seen) = echo().await;
    let mut open = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut open, 1).await.unwrap(), 1);
    proxy.refuse().await;
    let refused = connect(&proxy).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(ask(&mut open, 2).await.unwrap(), 2);
    proxy.accept().await.unwrap();
    let mut client = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut client, 3).await.unwrap(), 3);
}

#[tokio::test]
async fn a_stall_of_replies_hides_what_was_done() {
    let (proxy, mut seen) = echo().await;
    let mut client = connect(&proxy).await.unwrap();
    proxy.stall(Stall::Replies);
    client.write_u8(1).await.unwrap();
    assert_eq!(seen.recv().await, Some(1));
    proxy.cut().await;
    client.read_u8().await.unwrap_err();

    // What was held comes when the stall ends.
    let mut client = connect(&proxy).await.unwrap();
    client.write_u8(2).await.unwrap();
    assert_eq!(seen.recv().await, Some(2));
    proxy.stall(Stall::Off);
    assert_eq!(client.read_u8().await.unwrap(), 2);

    proxy.stall_open(Stall::Requests);
    client.write_u8(3).await.unwrap();
    // What is sent after it, on a connection that is not held, arrives: it would have been there before.
    let mut free = connect(&proxy).await.unwrap();
    for byte in 4..14 {
        assert_eq!(ask(&mut free, byte).await.unwrap(), byte);
        assert_eq!(seen.recv().await, Some(byte));
    }
    proxy.cut().await;
    client.read_u8().await.unwrap_err();
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_delay_holds_each_direction() {
    let (proxy, _seen) = echo().await;
    let mut client = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut client, 1).await.unwrap(), 1);
    proxy.delay(Duration::from_millis(30));
    assert_eq!(proxy.held(), 0);
    let since = Instant::now();
    assert_eq!(ask(&mut client, 2).await.unwrap(), 2);
    // At least: that is what a delay means, and no load can make it less.
    assert!(since.elapsed() >= Duration::from_millis(60));
    // The request and its reply.
    assert_eq!(proxy.held(), 2);
}

#[tokio::test]
async fn a_stall_of_what_is_open_lets_new_connections_through() {
    let (proxy, _seen) = echo().await;
    let mut old = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut old, 1).await.unwrap(), 1);
    proxy.stall_open(Stall::Requests);
    old.write_u8(2).await.unwrap();
    let mut new = connect(&proxy).await.unwrap();
    assert_eq!(ask(&mut new, 3).await.unwrap(), 3);
    let hangs = tokio::time::timeout(Duration::from_millis(50), old.read_u8()).await;
    assert!(hangs.is_err(), "{hangs:?}");
    while proxy.held() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What went through is none of it.
    assert_eq!(proxy.held(), 1);
    proxy.stall(Stall::Off);
    assert_eq!(old.read_u8().await.unwrap(), 2);
}
