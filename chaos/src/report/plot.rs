//! Plots over time, as SVG.

use std::fmt::Write as _;

use windlass_checker::Sample;

use super::Section;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 30.0;
/// Lines across.
const LINES: u32 = 4;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.unit{fill:#59636e}\
.grid{stroke:#d1d9e0}.first{stroke:#0969da;fill:none;stroke-width:1.5}.second{stroke:#cf222e;fill:none;stroke-width:1.5}\
.b{fill:#0969da}.r{fill:#cf222e}@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.unit{fill:#9198a1}.grid{stroke:#3d444d}\
.first{stroke:#4493f8}.second{stroke:#ff7b72}.b{fill:#4493f8}.r{fill:#ff7b72}}";

struct Line<'a> {
    class: &'a str,
    /// Of its name in the legend.
    colour: &'a str,
    name: &'a str,
    of: fn(&Sample) -> Option<f64>,
}

fn file(setting: &str, what: &str) -> String {
    let simple = setting.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let parts: String = simple.collect();
    let words: Vec<&str> = parts.split('-').filter(|word| !word.is_empty()).collect();
    format!("chaos-{}-{what}.svg", words.join("-").to_lowercase())
}

/// The plots of a run, by the names of their files; none of a run that was too short.
pub(super) fn of(section: &Section) -> Vec<(String, String)> {
    let samples = &section.findings.figures.samples;
    if samples.len() < 2 {
        return Vec::new();
    }
    let pickup = [
        Line { class: "first", colour: "b", name: "median", of: |sample| sample.pickup_p50 },
        Line { class: "second", colour: "r", name: "p99", of: |sample| sample.pickup_p99 },
    ];
    let memory = [
        Line { class: "first", colour: "b", name: "largest", of: |sample| sample.memory },
        Line { class: "second", colour: "r", name: "lives through", of: |sample| sample.steady },
    ];
    let title = |what: &str| format!("{}: {what}", section.setting);
    vec![
        (
            file(&section.setting, "pickup"),
            svg(&title("from the acknowledgement to the claim"), "ms", samples, &pickup),
        ),
        (
            file(&section.setting, "memory"),
            svg(&title("resident memory of a worker"), "MiB", samples, &memory),
        ),
    ]
}

/// The least round number that is not below.
fn round_up(most: f64) -> f64 {
    let power = 10_f64.powf(most.max(1e-3).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0]
        .map(|n| n * power)
        .into_iter()
        .find(|n| *n >= most)
        .unwrap_or(most)
}

fn svg(title: &str, unit: &str, samples: &[Sample], lines: &[Line<'_>]) -> String {
    let values =
        lines.iter().flat_map(|line| samples.iter().filter_map(|sample| (line.of)(sample)));
    let top = round_up(values.fold(0.0, f64::max));
    let last = samples.last().map_or(1.0, |sample| sample.second).max(1.0);
    let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * second / last;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
    let mut text = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><style>{STYLE}</style><text class="title" x="8" y="22">{title} <tspan class="unit">({unit})</tspan></text>"#
    );
    // Writing to a text can't fail.
    for n in 0..=LINES {
        let value = top * f64::from(n) / f64::from(LINES);
        let at = y(value);
        let _ = write!(
            text,
            r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}"/><text class="unit" x="{:.1}" y="{:.1}" text-anchor="end">{value}</text>"#,
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
        );
    }
    for (n, line) in lines.iter().enumerate() {
        // Where there is no value, there is a gap.
        for stretch in samples.split(|sample| (line.of)(sample).is_none()) {
            let points = stretch.iter().filter_map(|sample| Some((sample, (line.of)(sample)?)));
            let points: Vec<String> = points
                .map(|(sample, value)| format!("{:.1},{:.1}", x(sample.second), y(value)))
                .collect();
            if !points.is_empty() {
                let points = points.join(" ");
                let _ = write!(text, r#"<polyline class="{}" points="{points}"/>"#, line.class);
            }
        }
        if samples.iter().all(|sample| (line.of)(sample).is_none()) {
            continue;
        }
        let _ = write!(
            text,
            r#"<text class="{}" x="{:.1}" y="22" text-anchor="end">{}</text>"#,
            line.colour,
            WIDTH - RIGHT - 80.0 * n as f64,
            line.name,
        );
    }
    let _ = write!(
        text,
        r#"<text class="unit" x="{:.1}" y="{:.1}" text-anchor="end">{:.0} s</text></svg>"#,
        WIDTH - RIGHT,
        HEIGHT - 8.0,
        last
    );
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_from_left_to_right_and_up_to_the_top() {
        let samples = [0.0, 50.0, 100.0].map(|second| Sample {
            second,
            memory: Some(second),
            ..Sample::default()
        });
        let line = Line { class: "first", colour: "b", name: "it", of: |sample| sample.memory };
        let text = svg("a", "MiB", &samples, &[line]);
        assert!(text.contains(r#"points="70.0,190.0 455.0,115.0 840.0,40.0""#), "{text}");
    }

    #[test]
    fn where_nothing_was_measured_there_is_a_gap() {
        let values = [Some(50.0), Some(100.0), None, Some(100.0)];
        let samples: Vec<_> = values
            .into_iter()
            .enumerate()
            .map(|(n, memory)| Sample { second: n as f64, memory, ..Sample::default() })
            .collect();
        let line = Line { class: "first", colour: "b", name: "it", of: |sample| sample.memory };
        let text = svg("a", "MiB", &samples, &[line]);
        assert_eq!(text.matches("<polyline").count(), 2, "{text}");
        assert!(!text.contains(",190.0"), "{text}");
    }

    #[test]
    fn scales_end_with_round_numbers() {
        assert_eq!(
            [0.0, 0.9, 1.0, 3.0, 61.0, 900.0].map(round_up),
            [0.001, 1.0, 1.0, 4.0, 80.0, 1_000.0]
        );
    }

    #[test]
    fn files_have_plain_names() {
        assert_eq!(
            file("redis, appendfsync no", "memory"),
            "chaos-redis-appendfsync-no-memory.svg"
        );
    }
}
