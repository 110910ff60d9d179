//! Properties of everything here that parses. The tests of this crate check them on bounded inputs, the targets in `fuzz/` without an end.
//!
//! Whatever a row holds: nothing panics, and no error tells of the content.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a property fails by panicking")]

use std::cell::RefCell;
use std::error::Error;

use arbitrary::{Result, Unstructured};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::runtime::{Builder, Runtime};
use windlass_core::{ClaimId, ClaimRequest, Epoch, JobId, LeaseKey, WorkerId};

use crate::SqliteOptions;
use crate::ops::picked::{self, Picked};
use crate::ops::stored::Stored;
use crate::records::record;

/// Stands for what no error may show.
const MARK: &str = "hunter2";

/// Panics when an error tells of the content.
fn check_told(error: &dyn Error) {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    assert!(!text.contains(MARK), "it tells of the content: {text}");
}

/// URLs.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for url in [text.to_string(), format!("sqlite:{text}")] {
        if let Ok(options) = SqliteOptions::from_url(&url) {
            let path = options.path().to_str().unwrap();
            assert!(!path.contains('\0') && !path.is_empty());
        }
    }
    // A path reads back when what has a meaning in a URL is written otherwise.
    let plain = text.replace('%', "%25").replace('?', "%3F");
    if let Ok(options) = SqliteOptions::from_url(&format!("sqlite:{plain}")) {
        let slashes = text.strip_prefix("//").unwrap_or(&text);
        assert_eq!(options.path().to_str().unwrap(), slashes);
    }
}

fn job() -> JobId {
    JobId::derived("fuzzing")
}

fn keys() -> [LeaseKey; 2] {
    let claim_id = ClaimId::from_slice(&[1; 16]).unwrap();
    [1, 2].map(|n| LeaseKey { job: job(), epoch: Epoch(n), claim_id })
}

fn request() -> ClaimRequest {
    ClaimRequest::new(WorkerId::new(), Vec::new(), Vec::new())
}

/// The JSON in which statements answer.
pub fn json(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Stored::read_json(&text, &keys()) {
        Ok(jobs) => assert!(jobs.keys().all(|key| keys().contains(key))),
        Err(error) => check_told(&error),
    }
    for fresh in [true, false] {
        check_picked(picked::read(&text, &request(), fresh));
    }
}

fn check_picked(picked: windlass_core::Result<Picked>) {
    match picked {
        Ok(picked) => {
            assert!(picked.large.iter().all(|place| *place < picked.taken.len()));
            picked.damaged.iter().for_each(|(_, error)| check_told(error));
        }
        Err(error) => check_told(&error),
    }
}

thread_local! {
    /// A database in memory, which does no more than give rows.
    static DATABASE: RefCell<Option<(Runtime, SqliteConnection)>> = const { RefCell::new(None) };
}

/// A row of so many columns.
fn row(arguments: SqliteArguments, columns: usize) -> SqliteRow {
    let list: Vec<String> = (1..=columns).map(|n| format!("?{n}")).collect();
    let query = sqlx::query_with(AssertSqlSafe(format!("SELECT {}", list.join(","))), arguments);
    DATABASE.with_borrow_mut(|database| {
        let (runtime, conn) = database.get_or_insert_with(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let conn = runtime.block_on(SqliteConnection::connect("sqlite::memory:")).unwrap();
            (runtime, conn)
        });
        runtime.block_on(query.fetch_one(conn)).unwrap()
    })
}

use Column::{Digits, Id, Int, Null, Text};

/// What stands in good order in the columns of a record, of a job before a transition, and of a job to claim.
const LAYOUTS: [&[Column]; 3] = [
    &[
        Id,
        Int(3),
        Text("q"),
        Text("k"),
        Int(0),
        Int(5),
        Int(1),
        Int(1),
        Int(20),
        Int(0),
        Int(0),
        Id,
        Id,
        Int(5),
        Null,
        Int(0),
        Int(7),
        Int(5),
        Text("key"),
        Text("{\"a\":\"b\"}"),
        Text("[\"t\"]"),
        Text("{\"done\":1}"),
        Text("[]"),
        Int(1),
        Text("{}"),
        Int(1),
        Text("{}"),
    ],
    &[
        Id,
        Int(3),
        Int(1),
        Int(20),
        Int(0),
        Int(0),
        Int(0),
        Text("k"),
        Text("q"),
        Int(0),
        Id,
        Text("key"),
        Int(1),
        Null,
        Text("[]"),
        Int(1),
        Int(0),
        Int(1),
        Int(0),
    ],
    &[
        Digits,
        Int(1),
        Text("k"),
        Text("q"),
        Int(1),
        Text("7b7d"),
        Text("{\"a\":\"b\"}"),
        Text("[\"t\"]"),
        Int(0),
        Int(1),
        Int(20),
        Int(0),
        Int(0),
        Int(7),
        Text("{\"done\":1}"),
        Int(5),
        Int(5),
        Int(1),
        Int(1),
        Null,
        Int(0),
    ],
];

#[derive(Clone, Copy)]
enum Column {
    Id,
    /// The id as hexadecimal text.
    Digits,
    Int(i64),
    Text(&'static str),
    Null,
}

/// Rows in which some columns hold what they never should.
pub fn rows(data: &[u8]) {
    // Too few bytes are no row.
    let _ = odd_row(&mut Unstructured::new(data));
}

fn odd_row(u: &mut Unstructured<'_>) -> Result<()> {
    let mut arguments = SqliteArguments::default();
    let layout = *u.choose(&LAYOUTS)?;
    for column in layout {
        // The statements make the digits themselves.
        if !matches!(column, Digits) && u.ratio(1, 8)? {
            odd(u, &mut arguments)?;
            continue;
        }
        match *column {
            Id => arguments.add(job().as_bytes().to_vec()),
            Digits => arguments.add(job().as_uuid().simple().to_string()),
            Int(n) => arguments.add(n),
            Text(text) => arguments.add(text.to_owned()),
            Null => arguments.add(None::<i64>),
        }
        .unwrap();
    }
    let row = row(arguments, layout.len());
    if let Err(error) = record(&row) {
        check_told(&error);
    }
    // Of other statements it is a row with everything in other places.
    if let Err(error) = Stored::read(&row) {
        check_told(&error);
    }
    drop(Stored::read_rows(std::slice::from_ref(&row), &keys()));
    if !matches!(layout.first(), Some(Digits)) {
        return Ok(());
    }
    for fresh in [true, false] {
        check_picked(picked::read_rows(std::slice::from_ref(&row), &request(), fresh));
    }
    Ok(())
}

fn odd(u: &mut Unstructured<'_>, arguments: &mut SqliteArguments) -> Result<()> {
    let texts =
        ["{\"hunter2\":7}", "hunter2", "[7,\"hunter2\"]", "é", "", "{\"done\":\"hunter2\"}"];
    match u.int_in_range(0..=4)? {
        0 => arguments.add(None::<i64>),
        1 => arguments.add(u.arbitrary::<i64>()?),
        2 => arguments.add((*u.choose(&texts)?).to_owned()),
        3 => arguments.add(u.arbitrary::<Vec<u8>>()?),
        _ => arguments.add(f64::from(u.arbitrary::<i32>()?) / 2.0),
    }
    .unwrap();
    Ok(())
}

#[cfg(test)]
mod tests {
    use windlass_test_inputs::check;

    #[test]
    fn urls_are_read_or_refused() {
        check("urls", super::url);
    }

    #[test]
    fn answers_in_json_are_read_or_refused() {
        check("sqlite_json", super::json);
    }

    #[test]
    fn rows_of_every_shape_are_read_or_refused() {
        check("sqlite_rows", super::rows);
    }
}
