//! Text for people, whatever is in it and whether or not somebody still reads.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints to standard output. A reader that went away ends nothing: the work is worth doing all the same.
pub fn print(text: impl Display) -> io::Result<()> {
    quiet(writeln!(io::stdout().lock(), "{text}"))
}

/// Prints beside the output. Nobody is left to tell when even that fails.
pub fn print_beside(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn quiet(printed: io::Result<()>) -> io::Result<()> {
    printed.or_else(|e| if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(e) })
}

/// One line of text, with control characters spelled out: a file's name must not steer the terminal.
pub fn line(text: impl Display) -> String {
    let mut shown = String::new();
    for c in text.to_string().chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
