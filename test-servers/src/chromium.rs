//! A headless Chromium, driven over WebDriver.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result, blocking};
use crate::home::Home;
use crate::{binaries, port};

/// It starts within a second or two, but not on a machine that is busy with tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A driver that starts browsers. It ends with its browsers when dropped, and when the test process ends, however it does.
#[derive(Debug)]
pub struct Chromium {
    home: Home,
    port: u16,
    browser: PathBuf,
    driver: Child,
}

impl Chromium {
    /// What a browser has to be started with: it has no screen, and a container gives it neither a sandbox nor much shared memory.
    pub const ARGUMENTS: [&str; 4] =
        ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];

    /// Starts a driver on a free port.
    ///
    /// # Errors
    /// When the browser or its driver is not installed, or the driver doesn't start.
    pub async fn start() -> Result<Self> {
        blocking(Self::start_now).await
    }

    fn start_now() -> Result<Self> {
        let browser = binaries::program("chromium", "chromium")?;
        let program = binaries::program("chromedriver", "chromium-driver")?;
        let home = Home::new("chromium", "TERM", "nobody", "base-passwd")?;
        let port = port::free()?;
        let log = File::create(home.path().join("log")).context(|| "its log".to_owned())?;
        let mut command = home.command(&program);
        command.arg(format!("--port={port}")).stdout(log).stderr(Stdio::null());
        command.env("HOME", home.path()).env("TMPDIR", home.path());
        let driver = command.spawn().context(|| "can't start `chromedriver`".to_owned())?;
        let mut chromium = Self { home, port, browser, driver };
        chromium.wait_until_ready()?;
        Ok(chromium)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        // Only the log tells that this process, and no other, listens on the port.
        let ready = format!("started successfully on port {}", self.port);
        let since = Instant::now();
        loop {
            let log = self.home.tail("log");
            if log.contains(&ready) {
                return Ok(());
            }
            let ended = self.driver.try_wait().context(|| "`chromedriver`".to_owned())?.is_some();
            if ended || since.elapsed() > PATIENCE {
                return Err(Error::new(format!("`chromedriver` did not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where the driver takes commands.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The browser's program.
    #[must_use]
    pub fn browser(&self) -> &Path {
        &self.browser
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The rest is ended with the folder. Without this the driver would stay as a zombie of this process.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
