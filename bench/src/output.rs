//! Where a report is written to.

use std::path::{Path, PathBuf};

use crate::report::{Report, Row};
use crate::{Result, plot};

/// The files of a run.
pub struct Output {
    pub backend: String,
    pub json: Option<PathBuf>,
    pub folder: Option<PathBuf>,
}

impl Output {
    /// Writes the rows, the tables and the plots, in place of what was written before.
    pub fn write(&self, report: &Report) -> Result<()> {
        if let Some(path) = &self.json {
            std::fs::write(path, report.json()?).map_err(|e| failed(path, &e))?;
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
        let mut plots = Vec::new();
        for workload in report.workloads() {
            let rows: Vec<(&Row, bool)> = report
                .rows()
                .iter()
                .filter(|row| row.workload == workload)
                .map(|row| (row, report.is_sound(row)))
                .collect();
            if let Some(svg) = plot::svg(workload, &rows) {
                let file = plot::file(&self.backend, workload);
                std::fs::write(folder.join(&file), svg).map_err(|e| failed(folder, &e))?;
                plots.push((workload.to_owned(), file));
            }
        }
        let tables = folder.join(format!("{}.md", self.backend));
        std::fs::write(&tables, report.markdown(&plots)).map_err(|e| failed(&tables, &e))?;
        Ok(())
    }
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("`{}` could not be written: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output {
            backend: "sqlite".to_owned(),
            json: Some(folder.path().join("rows.json")),
            folder: Some(folder.path().join("out")),
        };
        let mut report = Report::default();
        for system in ["windlass", "raw"] {
            report.add(Row::new("sqlite", "drain", (system, "default"), "jobs/s", vec![1.0]));
        }
        output.write(&report).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("rows.json").lines().count(), 2);
        assert!(read("out/sqlite.md").contains("](sqlite-drain.svg)"));
        assert!(read("out/sqlite-drain.svg").contains("<svg"));
        let nowhere = Output { json: Some(folder.path().join("none/rows.json")), ..output };
        let error = nowhere.write(&report).unwrap_err().to_string();
        assert!(error.contains("none/rows.json` could not be written"), "{error}");
    }
}
