//! PostgreSQL's protocol, version 3: which statements were executed, and whether they are committed.

use std::collections::{HashMap, VecDeque};

use super::{Conversation, Piece};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// How much of a statement names it.
const NAME: usize = 100;
const COMMIT: &str = "COMMIT";

/// A connection to a PostgreSQL server.
#[derive(Debug, Default)]
pub struct Postgres {
    /// The first message has no type.
    begun: bool,
    /// Answers to questions about encryption that are one byte each.
    bytes_due: u32,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// Prepared statements by name.
    prepared: HashMap<Vec<u8>, Option<String>>,
    /// What writes since the last `Sync`.
    current: Option<String>,
    /// What wrote first in the transaction that the client began: its commit is named by that.
    first: Option<String>,
    /// The same of each stretch up to a `Sync` or a simple query whose end is not told yet.
    sent: VecDeque<Option<String>>,
    /// What is kept back of the present stretch, because it writes.
    held: Vec<u8>,
    failed: bool,
}

/// The name of a statement that writes.
fn writes(sql: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(sql);
    let upper = text.to_ascii_uppercase();
    let any = ["INSERT INTO", "UPDATE ", "DELETE FROM"].iter().any(|word| upper.contains(word))
        // As a word: `READ COMMITTED` commits nothing.
        || upper.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == COMMIT);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    any.then(|| line.trim().chars().take(NAME).collect())
}

/// Takes the text up to a zero byte.
fn text<'a>(body: &mut &'a [u8]) -> &'a [u8] {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let found = &body[..end];
    *body = body.get(end + 1..).unwrap_or_default();
    found
}

fn length(bytes: &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// Takes a whole message with its type.
fn message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let whole = 1 + length(buffer.get(1..)?)?;
    (buffer.len() >= whole).then(|| buffer.drain(..whole).collect())
}

/// Not in a transaction that could still be rolled back.
fn is_idle(ready: &[u8]) -> bool {
    ready.get(5) == Some(&b'I')
}

impl Postgres {
    /// A new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the messages before the typed ones. Answers whether they are over.
    fn begin(&mut self) -> bool {
        while !self.begun {
            let Some(whole) = length(&self.from_client).filter(|n| self.from_client.len() >= *n)
            else {
                return false;
            };
            let message: Vec<u8> = self.from_client.drain(..whole.max(4)).collect();
            let code = length(message.get(4..).unwrap_or_default()).unwrap_or_default();
            match u32::try_from(code) {
                Ok(SSL_REQUEST | GSS_REQUEST) => self.bytes_due += 1,
                _ => self.begun = true,
            }
        }
        true
    }

    fn sync(&mut self) {
        let mut writes = self.current.take();
        match writes.as_mut() {
            Some(name) if name.eq_ignore_ascii_case(COMMIT) => {
                if let Some(first) = self.first.take() {
                    *name = format!("{COMMIT} after {first}");
                }
            }
            Some(name) if self.first.is_none() => self.first = Some(name.clone()),
            _ => {}
        }
        self.sent.push_back(writes);
    }

    /// A stretch has ended, as the server says. Answers what of it writes.
    fn ended(&mut self, ready: &[u8]) -> Option<String> {
        let ended = self.sent.pop_front().flatten();
        // Nothing is under way that a later commit could be of.
        if is_idle(ready) && self.sent.is_empty() {
            self.first = None;
        }
        ended
    }

    fn front_writes(&self) -> bool {
        self.sent.front().is_some_and(Option::is_some)
    }
}

impl Conversation for Postgres {
    fn requested(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        if !self.begin() {
            return;
        }
        while let Some(message) = message(&mut self.from_client) {
            let mut body = &message[5..];
            match message[0] {
                b'P' => {
                    let name = text(&mut body).to_vec();
                    self.prepared.insert(name, writes(text(&mut body)));
                }
                b'B' => {
                    text(&mut body);
                    let statement = self.prepared.get(text(&mut body)).cloned().flatten();
                    self.current = statement.or(self.current.take());
                }
                b'Q' => {
                    self.current = writes(text(&mut body));
                    self.sync();
                }
                b'S' => self.sync(),
                _ => {}
            }
        }
    }

    fn replied(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.from_server.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let plain = |bytes| Piece { bytes, done: None };
        while self.bytes_due > 0 && !self.from_server.is_empty() {
            self.bytes_due -= 1;
            pieces.push(plain(self.from_server.drain(..1).collect()));
        }
        while let Some(message) = message(&mut self.from_server) {
            let kind = message[0];
            self.failed |= kind == b'E';
            if !self.front_writes() {
                if kind == b'Z' {
                    self.ended(&message);
                    self.failed = false;
                }
                pieces.push(plain(message));
                continue;
            }
            // Nothing of it is any use to the client before its end.
            self.held.extend_from_slice(&message);
            if kind == b'Z' {
                let done = self.ended(&message);
                let committed = is_idle(&message) && !self.failed;
                let bytes = std::mem::take(&mut self.held);
                pieces.push(Piece { bytes, done: done.filter(|_| committed) });
                self.failed = false;
            }
        }
        pieces
    }
}
