//! Plots: a bar for each system, with a line from the least to the most, as SVG.

use std::fmt::Write as _;

use crate::contestants::{RAW, is_peer};
use crate::report::{Row, figure};

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 270.0;
const LONGEST: f64 = 440.0;
/// Of a bar, and from one to the next.
const BAR: f64 = 16.0;
const STEP: f64 = 26.0;
const TOP: f64 = 44.0;
/// Plots that show less than this are worth no picture.
const LEAST: usize = 2;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.unit{fill:#59636e}\
.windlass{fill:#0969da}.raw{fill:#8c959f}.peer{fill:#a8d1ff}.span{stroke:#1f2328;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.unit{fill:#9198a1}.windlass{fill:#4493f8}.raw{fill:#656c76}.peer{fill:#1f4c85}\
.span{stroke:#f0f6fc}}";

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A file's name for a workload.
pub fn file(backend: &str, workload: &str) -> String {
    let simple = workload.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let parts: String = simple.collect();
    let words: Vec<&str> = parts.split('-').filter(|word| !word.is_empty()).collect();
    format!("{backend}-{}.svg", words.join("-").to_lowercase())
}

/// The plot of one workload's rows; none where there is nothing to compare. Those of which not all jobs ran once are pale, with an asterisk.
pub fn svg(workload: &str, rows: &[(&Row, bool)]) -> Option<String> {
    let mut rows: Vec<(&Row, f64, bool)> = rows
        .iter()
        .filter_map(|(row, sound)| row.value.map(|value| (*row, value, *sound)))
        .collect();
    let unit = rows.first()?.0.unit.clone();
    let most = rows.iter().filter_map(|(row, ..)| row.max).fold(0.0, f64::max);
    if rows.len() < LEAST || most <= 0.0 {
        return None;
    }
    // The best first.
    rows.sort_by(|a, b| if a.0.is_rate() { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
    let height = TOP + STEP * rows.len() as f64 + 8.0;
    let mut text = String::new();
    // Writing to a text can't fail.
    let _ = write!(
        text,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{0}"><style>{STYLE}</style><text class="title" x="8" y="24">{0} <tspan class="unit">({1})</tspan></text>"#,
        escaped(workload),
        escaped(&unit),
    );
    for (n, (row, value, sound)) in rows.iter().enumerate() {
        let class = if is_peer(&row.system) {
            "peer"
        } else if row.system.starts_with(RAW) {
            "raw"
        } else {
            "windlass"
        };
        let (top, scale) = (TOP + STEP * n as f64, LONGEST / most);
        let (middle, line) = (top + BAR / 2.0, top + BAR - 3.0);
        let from = LEFT + row.min.unwrap_or(*value) * scale;
        let to = LEFT + row.max.unwrap_or(*value) * scale;
        let _ = write!(
            text,
            r#"<text x="{:.1}" y="{line}" text-anchor="end">{}, {}{}</text><rect class="{class}" x="{LEFT}" y="{top}" width="{:.1}" height="{BAR}"{}/><line class="span" x1="{from:.1}" y1="{middle}" x2="{to:.1}" y2="{middle}"/><text x="{:.1}" y="{line}">{}</text>"#,
            LEFT - 8.0,
            escaped(&row.system),
            escaped(&row.config),
            if *sound { "" } else { " *" },
            value * scale,
            if *sound { "" } else { r#" opacity="0.4""# },
            to + 8.0,
            figure(Some(*value)),
        );
    }
    text.push_str("</svg>\n");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: &str, values: &[f64]) -> Row {
        Row::new("sqlite", "a < b", (system, "default"), "jobs/s", values.to_vec())
    }

    #[test]
    fn the_best_is_the_first_and_the_longest() {
        let (few, many) = (row("windlass", &[1.0, 2.0, 3.0]), row("raw", &[4.0]));
        let text = svg("a < b", &[(&few, true), (&many, false)]).unwrap();
        let at = |name: &str| text.find(&format!("class=\"{name}\"")).unwrap();
        assert!(at("raw") < at("windlass"));
        assert!(
            text.contains(r#"class="raw" x="270" y="44" width="440.0" height="16" opacity="0.4""#),
            "{text}"
        );
        assert!(text.contains("raw, default *<"), "{text}");
        assert!(
            text.contains(r#"class="windlass" x="270" y="70" width="220.0" height="16"/>"#),
            "{text}"
        );
        assert!(text.contains("a &lt; b") && !text.contains("a < b"));
    }

    #[test]
    fn what_compares_nothing_has_no_plot() {
        assert_eq!(svg("a", &[(&row("windlass", &[1.0]), true), (&row("raw", &[]), true)]), None);
        assert_eq!(svg("a", &[]), None);
        assert_eq!(
            svg("a", &[(&row("windlass", &[0.0]), true), (&row("raw", &[0.0]), true)]),
            None
        );
    }

    #[test]
    fn files_have_plain_names() {
        assert_eq!(
            file("redis", "enqueue in bulks of 1,000"),
            "redis-enqueue-in-bulks-of-1-000.svg"
        );
    }
}
