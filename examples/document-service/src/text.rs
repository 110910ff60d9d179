//! What can be said about texts: figures, how similar they are, and what differs.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

/// Bytes looked at in one go.
pub const STRIDE: usize = 64 << 10;
/// Longest text that is kept for a diff.
const KEPT: usize = 1 << 20;
/// Longest diff that is shown.
const LONGEST_DIFF: usize = 200 << 10;
/// A longer run of bytes without a blank is no text; it is taken in pieces.
const LONGEST_WORD: usize = 4 << 10;
/// Different terms counted per text.
const MOST_TERMS: usize = 50_000;
const TERM_CHARS: std::ops::RangeInclusive<usize> = 2..=40;
const SHARED_TERMS: usize = 20;
/// From this similarity on a diff says something.
const CLOSE: f64 = 0.5;
const DIFF_TIME: Duration = Duration::from_secs(5);

/// What is known of a text after reading it once.
#[derive(Default)]
pub struct Profile {
    pub lines: u64,
    pub words: u64,
    pub binary: bool,
    pub terms: HashMap<String, u64>,
    /// The whole text, unless it is too long.
    kept: Vec<u8>,
    length: usize,
    /// A word that may go on in the next piece.
    rest: Vec<u8>,
    ends_in_line: bool,
}

impl Profile {
    /// Takes in the next bytes.
    pub fn add(&mut self, piece: &[u8]) {
        self.length += piece.len();
        self.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.ends_in_line = piece.last().map_or(self.ends_in_line, |byte| *byte != b'\n');
        self.binary |= piece.contains(&0);
        if self.length <= KEPT {
            self.kept.extend_from_slice(piece);
        } else {
            self.kept = Vec::new();
        }
        let end = piece.iter().rposition(u8::is_ascii_whitespace).map_or(0, |last| last + 1);
        let (whole, begun) = piece.split_at(end);
        if !whole.is_empty() {
            let mut text = std::mem::take(&mut self.rest);
            text.extend_from_slice(whole);
            self.count(&text);
        }
        self.rest.extend_from_slice(begun);
        if self.rest.len() > LONGEST_WORD {
            let text = std::mem::take(&mut self.rest);
            self.count(&text);
        }
    }

    /// Takes in what stands at the very end.
    pub fn finish(&mut self) {
        let text = std::mem::take(&mut self.rest);
        self.count(&text);
        self.lines += u64::from(self.ends_in_line);
    }

    fn count(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.words += text.split_whitespace().count() as u64;
        let terms = text.split(|c: char| !c.is_alphanumeric());
        for term in terms.filter(|term| TERM_CHARS.contains(&term.chars().count())) {
            let term = term.to_lowercase();
            if let Some(count) = self.terms.get_mut(&term) {
                *count += 1;
            } else if self.terms.len() < MOST_TERMS {
                self.terms.insert(term, 1);
            }
        }
    }

    /// The text for a diff, if there is one.
    fn text(&self) -> Option<&str> {
        let whole = self.kept.len() == self.length && !self.binary;
        whole.then(|| std::str::from_utf8(&self.kept).ok()).flatten()
    }
}

#[derive(Serialize)]
pub struct Comparison {
    /// Cosine of the angle between the counts of terms: 0 for nothing in common, 1 for the same proportions.
    similarity: f64,
    shared_terms: Vec<Shared>,
    /// For texts that are close and not too long.
    diff: Option<String>,
    diff_cut: bool,
}

#[derive(Serialize)]
struct Shared {
    term: String,
    content: u64,
    context: u64,
}

/// Compares two texts, each with its name.
pub fn compare(content: (&str, &Profile), context: (&str, &Profile)) -> Comparison {
    let similarity = similarity(&content.1.terms, &context.1.terms);
    let diff = if similarity >= CLOSE { diff(content, context) } else { None };
    let diff_cut = diff.as_ref().is_some_and(|diff| diff.len() > LONGEST_DIFF);
    Comparison {
        similarity: (similarity * 10_000.0).round() / 10_000.0,
        shared_terms: shared(&content.1.terms, &context.1.terms),
        diff: diff.map(|mut diff| {
            diff.truncate(diff.floor_char_boundary(LONGEST_DIFF));
            diff
        }),
        diff_cut,
    }
}

fn similarity(a: &HashMap<String, u64>, b: &HashMap<String, u64>) -> f64 {
    let product: f64 =
        a.iter().filter_map(|(term, count)| Some(*count as f64 * *b.get(term)? as f64)).sum();
    let length = |terms: &HashMap<String, u64>| {
        terms.values().map(|count| (*count as f64).powi(2)).sum::<f64>().sqrt()
    };
    if product == 0.0 { 0.0 } else { (product / (length(a) * length(b))).min(1.0) }
}

fn shared(a: &HashMap<String, u64>, b: &HashMap<String, u64>) -> Vec<Shared> {
    let both = a.iter().filter_map(|(term, content)| Some((term, *content, *b.get(term)?)));
    let mut shared: Vec<_> = both
        .map(|(term, content, context)| Shared { term: term.clone(), content, context })
        .collect();
    shared.sort_by(|x, y| {
        let rank = |shared: &Shared| Reverse(shared.content.min(shared.context));
        rank(x).cmp(&rank(y)).then_with(|| x.term.cmp(&y.term))
    });
    shared.truncate(SHARED_TERMS);
    shared
}

fn diff(content: (&str, &Profile), context: (&str, &Profile)) -> Option<String> {
    let (a, b) = (content.1.text()?, context.1.text()?);
    let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(a, b);
    Some(diff.unified_diff().context_radius(3).header(content.0, context.0).to_string())
}

/// Whatever two texts hold, and wherever their pieces end: the figures are the same, and the comparison is a share.
#[cfg(any(test, fuzzing))]
pub fn property(data: &[u8]) {
    let Some((at, bytes)) = data.split_first() else { return };
    // Words that are longer are cut where a piece ends.
    let bytes = &bytes[..bytes.len().min(LONGEST_WORD)];
    let (left, right) = bytes.split_at(bytes.len() * usize::from(*at) / 256);
    let read = |pieces: &[&[u8]]| {
        let mut profile = Profile::default();
        pieces.iter().for_each(|piece| profile.add(piece));
        profile.finish();
        profile
    };
    let (whole, cut) = (read(&[bytes]), read(&[left, right]));
    assert_eq!((whole.lines, whole.words, whole.binary), (cut.lines, cut.words, cut.binary));
    assert!(whole.terms == cut.terms && whole.text() == cut.text());
    let other = read(&[right]);
    for (a, b) in [(&whole, &cut), (&whole, &other), (&other, &whole)] {
        let compared = compare(("content", a), ("context", b));
        assert!((0.0..=1.0).contains(&compared.similarity), "{}", compared.similarity);
        assert!(compared.shared_terms.len() <= SHARED_TERMS);
        assert!(compared.diff.is_none_or(|diff| diff.len() <= LONGEST_DIFF));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_sort_are_compared() {
        windlass_test_inputs::check("service_text", property);
    }

    fn profile(pieces: &[&[u8]]) -> Profile {
        let mut profile = Profile::default();
        pieces.iter().for_each(|piece| profile.add(piece));
        profile.finish();
        profile
    }

    #[test]
    fn figures_do_not_depend_on_where_pieces_end() {
        let text = "Über den Wolken\nmuss die Freiheit wohl\r\ngrenzenlos sein".as_bytes();
        let whole = profile(&[text]);
        assert_eq!((whole.lines, whole.words, whole.terms["über"]), (3, 9, 1));
        for cut in 0..text.len() {
            let cut = profile(&[&text[..cut], &text[cut..]]);
            assert_eq!((cut.lines, cut.words, &cut.terms), (3, 9, &whole.terms));
        }
        let empty = profile(&[]);
        assert_eq!((empty.lines, empty.words, empty.terms.len()), (0, 0, 0));
    }

    #[test]
    fn close_texts_get_a_diff_and_others_none() {
        let a = profile(&[b"alpha beta gamma\ndelta\n"]);
        let b = profile(&[b"alpha beta gamma\nepsilon\n"]);
        let both = compare(("a", &a), ("b", &b));
        assert_eq!(both.similarity, 0.75);
        let diff = both.diff.unwrap();
        assert!(diff.contains("-delta\n+epsilon\n"), "{diff}");
        let terms: Vec<_> = both.shared_terms.iter().map(|shared| &*shared.term).collect();
        assert_eq!(terms, ["alpha", "beta", "gamma"]);

        let other = compare(("a", &a), ("c", &profile(&[b"something else"])));
        assert_eq!((other.similarity, other.diff), (0.0, None));
        let binary = profile(&[b"alpha beta gamma\ndelta\n\0"]);
        assert_eq!(compare(("a", &a), ("d", &binary)).diff, None);
    }

    #[test]
    fn a_long_text_is_not_kept() {
        let line = b"the same words again\n".repeat(KEPT / 10);
        let long = profile(&line.chunks(STRIDE).collect::<Vec<_>>());
        assert!(long.kept.is_empty() && long.text().is_none());
        assert_eq!(long.words, 4 * (KEPT as u64 / 10));
    }
}
