//! Rows for the set statements: a JSON array of arrays, read by `json_each`, and one blob that holds
//! what must come through byte by byte, as offset and length.

use std::fmt::Write;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteArguments;

use crate::ops::stored::Guard;
use crate::script::{Statement, statement};

pub(crate) type Query = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

/// Rows under construction.
#[derive(Debug)]
pub(crate) struct Rows {
    json: String,
    blob: Vec<u8>,
    count: usize,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self { json: String::from("["), blob: Vec::new(), count: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Starts a row with what the statement compares before it writes: four columns.
    pub(crate) fn guarded(&mut self, guard: &Guard) -> &mut Self {
        self.row().id(guard.job.as_bytes()).int(guard.state.code()).int(guard.epoch);
        match &guard.claim {
            Some(claim) => self.id(claim.as_bytes()),
            None => self.null(),
        }
    }

    /// Starts a row; the columns follow.
    pub(crate) fn row(&mut self) -> &mut Self {
        if self.count > 0 {
            self.json.push_str("],");
        }
        self.json.push('[');
        self.count += 1;
        self
    }

    fn sep(&mut self) {
        if !self.json.ends_with('[') {
            self.json.push(',');
        }
    }

    pub(crate) fn int(&mut self, value: impl Into<i64>) -> &mut Self {
        self.sep();
        // Writing to a String never fails.
        let _ = write!(self.json, "{}", value.into());
        self
    }

    pub(crate) fn maybe_int(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.sep();
        self.json.push_str("null");
        self
    }

    /// An id, as hexadecimal text for `unhex`.
    pub(crate) fn id(&mut self, id: &[u8; 16]) -> &mut Self {
        self.sep();
        self.json.push('"');
        push_hex(&mut self.json, id);
        self.json.push('"');
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.sep();
        push_json_text(&mut self.json, text);
        self
    }

    pub(crate) fn maybe_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// Two columns: offset (from 1) and length in the blob.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let offset = self.blob.len() + 1;
        self.blob.extend_from_slice(bytes);
        self.int(size(offset)).int(size(bytes.len()))
    }

    /// The JSON and the blob.
    pub(crate) fn done(mut self) -> (String, Vec<u8>) {
        if self.blob.is_empty() {
            self.blob.push(0); // of an empty blob, `substr` gives NULL
        }
        self.json.push_str(if self.count > 0 { "]]" } else { "]" });
        (self.json, self.blob)
    }

    /// A query with the rows as its first parameter.
    pub(crate) fn query(self, sql: &'static str) -> Statement {
        statement(sql).bind(self.done().0)
    }

    /// The same for rows that begin with their [`guarded`](Self::guarded) columns: each must write its job.
    pub(crate) fn guarded_query(self, sql: &'static str) -> Statement {
        let count = self.count;
        self.query(sql).writes(count)
    }

    /// A query with the rows as its first and their bytes as its second parameter.
    pub(crate) fn query_with_bytes(self, sql: &'static str) -> Statement {
        let (json, blob) = self.done();
        statement(sql).bind(json).bind(blob)
    }
}

/// Rows of fixed width as a flat JSON list of texts, for the hottest statements: taking `substr` of a text costs SQLite a
/// fraction of parsing a row that is JSON itself.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    json: String,
    blob: Vec<u8>,
    count: usize,
}

impl Lines {
    /// Starts a row with an id of 32 digits.
    pub(crate) fn row(&mut self, id: &[u8; 16]) -> &mut Self {
        self.json.push_str(if self.count == 0 { "[\"" } else { "\",\"" });
        self.count += 1;
        self.id(id)
    }

    /// 32 digits.
    pub(crate) fn id(&mut self, id: &[u8; 16]) -> &mut Self {
        push_hex(&mut self.json, id);
        self
    }

    /// As many digits as the number has: the last in a row, or known to have one.
    pub(crate) fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        // Writing to a String never fails.
        let _ = write!(self.json, "{}", number.into());
        self
    }

    /// 10 digits.
    pub(crate) fn place(&mut self, number: usize) -> &mut Self {
        let _ = write!(self.json, "{number:010}");
        self
    }

    /// Offset (from 1) and length in the blob, of 10 digits each.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let offset = self.blob.len() + 1;
        self.blob.extend_from_slice(bytes);
        self.place(offset).place(bytes.len())
    }

    /// The JSON and the blob.
    pub(crate) fn done(mut self) -> (String, Vec<u8>) {
        if self.blob.is_empty() {
            self.blob.push(0); // of an empty blob, `substr` gives NULL
        }
        self.json.push_str(if self.json.is_empty() { "[]" } else { "\"]" });
        (self.json, self.blob)
    }
}

/// A flat list of ids as JSON.
pub(crate) fn ids<'a>(ids: impl IntoIterator<Item = &'a [u8; 16]>) -> String {
    let mut json = String::from("[");
    for id in ids {
        if json.len() > 1 {
            json.push(',');
        }
        json.push('"');
        push_hex(&mut json, id);
        json.push('"');
    }
    json.push(']');
    json
}

/// A flat list of numbers as JSON.
pub(crate) fn list(numbers: &[i64]) -> String {
    let mut json = String::with_capacity(numbers.len() * 2 + 2);
    for (n, number) in numbers.iter().enumerate() {
        // Writing to a String never fails.
        let _ = write!(json, "{}{number}", if n == 0 { '[' } else { ',' });
    }
    json.push_str(if json.is_empty() { "[]" } else { "]" });
    json
}

/// A flat list of texts as JSON; NULL when empty, for "any" in filters.
pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for text in texts {
        if json.len() > 1 {
            json.push(',');
        }
        push_json_text(&mut json, text);
    }
    json.push(']');
    json
}

pub(crate) fn push_hex(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(char::from(DIGITS[usize::from(byte >> 4)]));
        to.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

pub(crate) fn push_json_text(to: &mut String, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        to.push('"');
        to.push_str(text);
        to.push('"');
    } else {
        to.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// A size as SQLite's integer.
pub(crate) fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Runs a statement and tells how many rows it changed.
pub(crate) async fn execute(conn: &mut SqliteConnection, query: Query) -> sqlx::Result<u64> {
    Ok(query.execute(conn).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json_whatever_the_texts_hold() {
        let mut rows = Rows::new();
        rows.row().id(&[0xab; 16]).int(-3).null().text("a\"b\\\n\u{1}é").bytes(b"xy");
        rows.row().bytes(b"z").maybe_text(None);
        assert!(!rows.is_empty());
        let (json, blob) = rows.done();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            value,
            serde_json::json!([["ab".repeat(16), -3, null, "a\"b\\\n\u{1}é", 1, 2], [3, 1, null]])
        );
        assert_eq!(blob, b"xyz");
        assert_eq!(Rows::new().done().0, "[]");
        assert_eq!(ids([&[1; 16]]), format!("[\"{}\"]", "01".repeat(16)));
        assert_eq!(texts(["a", "b\""]), r#"["a","b\""]"#);
    }
}
