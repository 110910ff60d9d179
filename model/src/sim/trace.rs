//! What happened, line by line, with names in place of ids that are random.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use uuid::Uuid;

/// Prints the lines of a run, if wanted, and keeps their hash.
#[derive(Debug)]
pub(super) struct Trace {
    names: HashMap<Uuid, String>,
    counts: HashMap<char, usize>,
    print: bool,
    pub(super) hash: u64,
}

impl Trace {
    pub(super) fn new(print: bool) -> Self {
        Self { names: HashMap::new(), counts: HashMap::new(), print, hash: 0xcbf2_9ce4_8422_2325 }
    }

    /// The name of an id: its sort and the order of its first appearance.
    pub(super) fn name(&mut self, sort: char, id: &Uuid) -> String {
        if let Some(name) = self.names.get(id) {
            return name.clone();
        }
        let count = self.counts.entry(sort).or_default();
        *count += 1;
        let name = format!("{sort}{count}");
        self.names.insert(*id, name.clone());
        name
    }

    pub(super) fn line(&mut self, at: Duration, text: &str) {
        let mut line = String::new();
        let _ = write!(line, "{:>10.3} {text}", at.as_secs_f64());
        // FNV-1a: the same in every process and build.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // At once, so that a run that hangs shows where.
        if self.print {
            println!("{line}");
        }
    }
}
