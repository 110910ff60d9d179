//! What is measured, where and when.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::contestants::Contestant;

/// File systems in memory: a commit that waits for them waits for nothing.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// An error where databases would be in memory.
pub fn check(folder: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    if is_in_memory(&folder.canonicalize()?, &mounts) {
        return Err(format!(
            "`{}` is in memory, so that no commit would wait for a disk; name a folder on one in TMPDIR",
            folder.display()
        )
        .into());
    }
    Ok(())
}

fn is_in_memory(folder: &Path, mounts: &str) -> bool {
    kind_of(folder, mounts).is_some_and(|kind| IN_MEMORY.contains(&kind))
}

/// The kind of file system that a folder is on, of lines as in `/proc/mounts`: the last of the longest paths.
fn kind_of<'m>(folder: &Path, mounts: &'m str) -> Option<&'m str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let above = mounts.filter(|(path, _)| folder.starts_with(path));
    above.max_by_key(|(path, _)| path.components().count()).map(|(_, kind)| kind)
}

/// The head of a report.
pub fn title(backend: &str, contestants: &[Contestant], server: Option<String>) -> String {
    let systems: Vec<String> = contestants
        .iter()
        .map(|c| format!("{} {}", c.name, c.description.version).trim_end().to_owned())
        .collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(format!(" ({})", line.split_once(':')?.1.trim()))
    });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let server = server.map(|server| format!(", {server}")).unwrap_or_default();
    format!(
        "# Figures on {backend}\n\n{} at commit {}: {cores} processors{}, Linux {}{server}.\n\nSystems: {}.\n\n",
        said("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(|| "One day".to_owned()),
        commit().unwrap_or_else(|| "unknown".to_owned()),
        model.unwrap_or_default(),
        kernel.trim(),
        systems.join(", "),
    )
}

/// The commit of this program, and whether there is more than that.
fn commit() -> Option<String> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let head = said("git", &["-C", folder, "rev-parse", "--short", "HEAD"])?;
    // A report may be on its way into the documents, which nothing is built of.
    let places = ["--", ":(top)", ":(top,exclude)docs"];
    let status = ["-C", folder, "status", "--porcelain", "--untracked-files=no"];
    let changes = said("git", &[&status[..], &places].concat());
    let clean = changes.is_some_and(|changes| changes.is_empty());
    Some(if clean { head } else { format!("{head} with changes") })
}

/// What a program says that succeeds.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_the_nearest_mount() {
        let mounts =
            "/dev/sda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sdb /tmp/disk xfs rw 0 0\n";
        let kind = |folder: &str| kind_of(Path::new(folder), mounts);
        assert_eq!(kind("/home/a"), Some("ext4"));
        assert_eq!(kind("/tmp/a"), Some("tmpfs"));
        assert_eq!(kind("/tmp/disk/a"), Some("xfs"));
        assert_eq!(kind("/tmpo"), Some("ext4"));
        assert!(is_in_memory(Path::new("/tmp/a"), mounts));
        assert!(!is_in_memory(Path::new("/tmp/disk/a"), mounts));
    }

    #[test]
    fn a_report_tells_where_it_is_from() {
        let title = title("redis", &[], Some("Redis 7".to_owned()));
        assert!(title.starts_with("# Figures on redis\n\n20"), "{title}");
        assert!(title.contains("Redis 7.\n"), "{title}");
    }
}
