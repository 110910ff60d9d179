//! Redis's protocol, RESP 2 and 3: which scripts were run, and where each reply ends.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use super::{Conversation, Piece};

/// The names of the scripts. One of another build has another digest.
static SCRIPTS: LazyLock<HashMap<String, &str>> =
    LazyLock::new(|| windlass::redis::scripts().into_iter().collect());
/// How much of a script's digest names it, where nothing else does.
const NAME: usize = 12;

/// A connection to a Redis server.
#[derive(Debug, Default)]
pub struct Redis {
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// The scripts of the requests that are not answered yet; none for other commands.
    sent: VecDeque<Option<String>>,
    /// Messages come unasked here: replies can't be counted.
    subscribed: bool,
}

fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..end], at + end + 2))
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The first arguments of a whole request, and where it ends.
fn request(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let (head, mut at) = line(bytes, 0)?;
    let count = match head.split_first() {
        Some((b'*', count)) => number(count)?,
        // An inline command.
        _ => return Some((vec![head], at)),
    };
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (head, begin) = line(bytes, at)?;
        let length = usize::try_from(number(head.get(1..)?)?).ok()?;
        let argument = bytes.get(begin..begin + length)?;
        if arguments.len() < 2 {
            arguments.push(argument);
        }
        at = begin + length + 2;
    }
    (at <= bytes.len()).then_some((arguments, at))
}

/// Where a value ends; none if it is not whole yet.
fn value(bytes: &[u8], at: usize) -> Option<usize> {
    let (head, mut end) = line(bytes, at)?;
    let (kind, rest) = head.split_first()?;
    let count = || number(rest).unwrap_or(-1);
    match kind {
        b'$' | b'=' | b'!' => {
            let length = usize::try_from(count()).ok();
            end += length.map_or(0, |length| length + 2);
            (end <= bytes.len()).then_some(end)
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let twice = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            for _ in 0..count() * twice {
                end = value(bytes, end)?;
            }
            // An attribute stands before what it is about.
            if *kind == b'|' { value(bytes, end) } else { Some(end) }
        }
        _ => Some(end),
    }
}

impl Redis {
    /// A new connection.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Conversation for Redis {
    fn requested(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        let mut done = 0;
        while let Some((arguments, length)) = request(&self.from_client[done..]) {
            let command = arguments.first().map(|name| name.to_ascii_uppercase());
            let script = match command.as_deref() {
                Some(b"EVALSHA") => arguments.get(1).map(|digest| {
                    let digest = String::from_utf8_lossy(digest);
                    let known = SCRIPTS.get(digest.as_ref()).map(|name| (*name).to_owned());
                    let name = known.unwrap_or_else(|| digest.chars().take(NAME).collect());
                    format!("script {name}")
                }),
                Some(b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"MONITOR") => {
                    self.subscribed = true;
                    None
                }
                _ => None,
            };
            self.sent.push_back(script);
            done += length;
        }
        self.from_client.drain(..done);
    }

    fn replied(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.from_server.extend_from_slice(bytes);
        if self.subscribed {
            let bytes = std::mem::take(&mut self.from_server);
            return vec![Piece { bytes, done: None }];
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(end) = value(&self.from_server, at) {
            let bytes = self.from_server[at..end].to_vec();
            let done = match bytes.first() {
                // Not an answer to anything.
                Some(b'>') => None,
                first => {
                    let script = self.sent.pop_front().flatten();
                    script.filter(|_| first != Some(&b'-'))
                }
            };
            pieces.push(Piece { bytes, done });
            at = end;
        }
        self.from_server.drain(..at);
        pieces
    }
}
