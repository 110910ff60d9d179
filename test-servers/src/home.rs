//! Where a server lives: a temporary folder, the user it runs as, and the watchdog that ends it with the test process.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::error::{Context, Error, Result};

const WATCHDOG: &str = include_str!("watchdog.sh");
/// A socket's path has room for 107 bytes: with a longer folder for temporary files we use `/tmp`.
const LONGEST_BASE: usize = 60;
/// The user that Debian's packages make for a server.
#[derive(Debug, Clone)]
struct User {
    uid: u32,
    gid: u32,
}

/// A server's folder. Everything that runs in it ends, and it is removed, soon after the last reference or the process is gone.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    user: Option<User>,
    watchdog: Option<Child>,
}

impl Home {
    /// Makes the folder `windlass-<kind>-…`. `stop` is the signal on which the server ends at once; `user` is whom a server that
    /// root starts runs as, and `package` what makes that user.
    pub(crate) fn new(kind: &str, stop: &str, user: &str, package: &str) -> Result<Self> {
        let user = if is_root() { Some(find_user(user, package)?) } else { None };
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() > LONGEST_BASE {
            base = "/tmp".into();
        }
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(base.join(format!("windlass-{kind}")))
            .args([stop, &user.as_ref().map(|u| u.uid.to_string()).unwrap_or_default()])
            .arg(user.as_ref().map(|u| u.gid.to_string()).unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C goes to the whole group of the test process.
            .process_group(0)
            .spawn()
            .context(|| "can't start `sh`".to_owned())?;
        let mut path = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            BufReader::new(stdout).read_line(&mut path).context(|| "the watchdog".to_owned())?;
        }
        let path = PathBuf::from(path.trim_end());
        let home = Self { path, user, watchdog: Some(watchdog) };
        if home.path.as_os_str().is_empty() {
            return Err(Error::new(format!("can't make a folder in `{}`", base.display())));
        }
        home.give(&home.path)?;
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a path the server's own.
    fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid)).context(|| format!("`{}`", path.display()))
    }

    /// Makes a folder of the server's own.
    pub(crate) fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).context(|| format!("`{}`", path.display()))?;
        self.give(&path)?;
        Ok(path)
    }

    /// Writes a file that only the server can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let at = || format!("`{}`", path.display());
        std::fs::write(&path, text).context(at)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).context(at)?;
        self.give(&path)?;
        Ok(path)
    }

    /// Puts a file system of that many bytes, held in memory, on a folder.
    pub(crate) fn mount_tmpfs(&self, folder: &Path, bytes: u64) -> Result<()> {
        let Some(user) = &self.user else {
            return Err(Error::new("only root can mount a tmpfs: run this test as root"));
        };
        let options = format!("size={bytes},mode=0700,uid={},gid={}", user.uid, user.gid);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder);
        run(&mut mount)
    }

    /// A program that runs in the folder, as the server's user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.path).env("LC_ALL", "C").stdin(Stdio::null()).process_group(0);
        // Settings of the caller's own servers, as PGDATA or PGPORT.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PG")) {
                command.env_remove(name);
            }
        }
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// What runs in the folder, as the watchdog finds it. A zombie runs nowhere.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        let mut find = self.command(Path::new("sh"));
        find.current_dir("/");
        find.args([
            "-c",
            r#"find /proc/[0-9]*/cwd -maxdepth 0 -lname "$0*" 2>/dev/null | cut -d/ -f3"#,
        ]);
        let output = find.arg(&self.path).output().context(|| "can't start `sh`".to_owned())?;
        let mut pids: Vec<i32> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        // Mostly parents before their children, so that none sees the other's death and acts on it.
        pids.sort_unstable();
        Ok(pids)
    }

    /// SIGKILLs everything that runs in the folder, and waits until it is gone.
    pub(crate) fn kill_9(&self) -> Result<()> {
        loop {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids.into_iter().filter_map(Pid::from_raw) {
                // It may be gone already.
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal to everything that runs in the folder.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        for pid in self.processes()?.into_iter().filter_map(Pid::from_raw) {
            // It may be gone already.
            let _ = kill_process(pid, signal);
        }
        Ok(())
    }

    /// The end of a file, for an error.
    pub(crate) fn tail(&self, name: &str) -> String {
        let text = std::fs::read(self.path.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(mut watchdog) = self.watchdog.take() else { return };
        // Closing the pipe is what it waits for; reaping it takes as long as the server takes to end.
        drop(watchdog.stdin.take());
        std::thread::spawn(move || watchdog.wait());
    }
}

/// Runs a program to its end; an error holds what it said.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(|| format!("can't start `{name}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(Error::new(format!("`{name}` failed ({}): {}", output.status, said.trim())))
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

fn find_user(name: &str, package: &str) -> Result<User> {
    let users = std::fs::read_to_string("/etc/passwd").context(|| "/etc/passwd".to_owned())?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.into_iter().find_map(|user| match user[..] {
        [n, _, uid, gid, ..] if n == name => {
            Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        }
        _ => None,
    });
    found.ok_or_else(|| {
        Error::new(format!(
            "there is no user `{name}` to run the server as instead of root: apt-get install {package}"
        ))
    })
}
