//! Rows of figures, as a Markdown table and as JSON.

use serde::Serialize;

#[derive(Serialize)]
pub struct Row {
    backend: String,
    workload: String,
    system: String,
    config: String,
    value: f64,
    unit: String,
    min: f64,
    max: f64,
    runs: usize,
}

impl Row {
    pub fn new(
        backend: &str,
        workload: &str,
        config: &str,
        unit: &str,
        mut values: Vec<f64>,
    ) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            backend: backend.to_owned(),
            workload: workload.to_owned(),
            system: "windlass".to_owned(),
            config: config.to_owned(),
            value: values[values.len() / 2],
            unit: unit.to_owned(),
            min: values[0],
            max: values[values.len() - 1],
            runs: values.len(),
        }
    }
}

#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    pub fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    pub fn print(&self) {
        println!("| backend | workload | system | config | median | min | max | unit | runs |");
        println!("|---|---|---|---|---|---|---|---|---|");
        for r in &self.0 {
            let figure = |v: f64| if v < 100.0 { format!("{v:.2}") } else { format!("{v:.0}") };
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                r.backend,
                r.workload,
                r.system,
                r.config,
                figure(r.value),
                figure(r.min),
                figure(r.max),
                r.unit,
                r.runs
            );
        }
    }

    pub fn json(&self) -> serde_json::Result<String> {
        let rows: Result<Vec<_>, _> = self.0.iter().map(serde_json::to_string).collect();
        Ok(rows?.join("\n") + "\n")
    }
}
