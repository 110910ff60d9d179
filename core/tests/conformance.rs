//! The memory backend under the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::conformance::Harness;
use windlass_core::{Limits, MemoryBackend, WorkerId};

struct Memory(Arc<MemoryBackend>);

impl Harness for Memory {
    type Backend = MemoryBackend;

    async fn open(limits: Limits) -> Self {
        Self(Arc::new(MemoryBackend::with_limits(limits)))
    }

    fn backend(&self) -> Arc<MemoryBackend> {
        self.0.clone()
    }

    async fn second(&self) -> Option<Arc<MemoryBackend>> {
        Some(Arc::new(MemoryBackend::clone(&self.0)))
    }

    async fn advance(&self, span: Duration) {
        self.0.advance(span);
    }

    async fn expire(&self, _: WorkerId) {
        self.0.advance(Duration::from_secs(7_200));
    }
}

windlass_core::conformance!(Memory);

/// Every case that the guarantees name exists, so that no promise loses its test by a renaming.
#[test]
fn the_guarantees_name_cases_that_exist() {
    use windlass_core::conformance::{CASES, OUTBOX_CASES, STORAGE_CASES, TRANSACTIONAL_CASES};
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guarantees.md");
    let page = std::fs::read_to_string(page).unwrap();
    let named: Vec<_> = page.split('`').skip(1).step_by(2).filter(|n| n.contains("::")).collect();
    assert!(named.len() > 50, "the page was read");
    for name in named {
        let lists = [CASES, OUTBOX_CASES, STORAGE_CASES, TRANSACTIONAL_CASES];
        let exists = lists.iter().any(|l| l.contains(&name));
        assert!(exists, "docs/guarantees.md names `{name}`, which is no case");
    }
    // Tests outside the suite stand in a row that names their files behind them.
    let mut outside = 0;
    for row in page.lines().filter(|row| row.contains(".rs` |")) {
        let column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let (mut tests, mut code) = (Vec::new(), String::new());
        let mut check = |tests: &mut Vec<&str>, code: &mut String| {
            for test in tests.drain(..) {
                assert!(
                    code.contains(&format!("fn {test}(")),
                    "there is no test `{test}`: {column}"
                );
                outside += 1;
            }
            code.clear();
        };
        for named in column.split('`').skip(1).step_by(2) {
            if !named.ends_with(".rs") {
                if !code.is_empty() {
                    check(&mut tests, &mut code);
                }
                tests.push(named);
                continue;
            }
            let file = format!("{}/../{named}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
            code.push_str(&text);
        }
        check(&mut tests, &mut code);
    }
    assert!(outside >= 20, "the rows were read: {outside}");
}
