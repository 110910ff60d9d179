//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Error, Result};

/// Below the ports that the kernel gives to outgoing connections (32768 and above on Linux): one of those could take the port while
/// the server is down, even a client that is trying to reach it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that nothing listens on at this moment. Another process can take it before its server is up: try again then.
pub fn free() -> Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new(format!("no port of 127.0.0.1 is free in {PORTS:?}")))
}
