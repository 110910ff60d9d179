//! The scripts: Lua in files, put together with the parts they name, sent by their SHA-1 and loaded anew when the server has forgotten them.

use redis::Value;

use crate::link::{Line, Reply};
use crate::pack::Pack;

/// A script as it is sent.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    code: String,
    sha: String,
}

/// Put before the names of the parts that a script is made with.
const PARTS: &str = "--@ ";

impl Script {
    fn new(name: &'static str, text: &str) -> Self {
        let code = assemble(text);
        let sha = redis::Script::new(&code).get_hash().to_owned();
        Self { name, code, sha }
    }

    /// Runs the script. One that the server doesn't know is sent whole, once.
    pub(crate) async fn run(&self, line: &impl Line, namespace: &str, args: &Args) -> Reply<Value> {
        match line.send(&self.command("EVALSHA", &self.sha, namespace, args)).await {
            Err(error) if is_unknown(&error) => {
                tracing::debug!(script = self.name, "the server doesn't know a script: it is sent");
                line.send(&self.command("EVAL", &self.code, namespace, args)).await
            }
            done => done,
        }
    }

    fn command(&self, how: &str, what: &str, namespace: &str, args: &Args) -> redis::Cmd {
        let mut command = redis::cmd(how);
        command.arg(what).arg(1).arg(namespace);
        args.iter().for_each(|arg| {
            command.arg(arg);
        });
        command
    }
}

/// The digest of each script with the script's name, which is that of its file: `SLOWLOG` and `MONITOR` tell digests alone.
pub fn scripts() -> Vec<(String, &'static str)> {
    let scripts = Scripts::new();
    scripts.all().into_iter().map(|script| (script.sha.clone(), script.name)).collect()
}

fn is_unknown(error: &redis::RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

/// Puts the parts in their place. Comments and indentation stay behind: they would only cost memory and time.
fn assemble(text: &str) -> String {
    let mut code = String::with_capacity(16 << 10);
    for (n, line) in text.lines().enumerate() {
        if n == 0 {
            // What the script may do is told in its first line.
            code.push_str(line);
            code.push('\n');
        } else if let Some(parts) = line.strip_prefix(PARTS) {
            parts.split_whitespace().for_each(|name| push(&mut code, part(name)));
        } else {
            push(&mut code, line);
        }
    }
    code
}

fn push(code: &mut String, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !line.starts_with("--") {
            code.push_str(line);
            code.push('\n');
        }
    }
}

macro_rules! parts {
    ($($name:ident)*) => {
        fn part(name: &str) -> &'static str {
            match name {
                $(stringify!($name) => include_str!(concat!("lua/part_", stringify!($name), ".lua")),)*
                // No script of this crate names another: a test puts all of them together.
                _ => "error('no such part')",
            }
        }
    };
}

parts! { base blobs change claim filter insert jobs keys machine maintain notes quick writes }

macro_rules! scripts {
    ($($name:ident)*) => {
        /// Every script, named after its file.
        #[derive(Debug)]
        pub(crate) struct Scripts { $(pub(crate) $name: Script),* }

        impl Scripts {
            pub(crate) fn new() -> Self {
                Self { $($name: Script::new(
                    stringify!($name), include_str!(concat!("lua/", stringify!($name), ".lua")),
                )),* }
            }

            /// All of them.
            fn all(&self) -> Vec<&Script> {
                vec![$(&self.$name),*]
            }
        }
    };
}

scripts! {
    ages append blob_begin blob_chunk blob_delete blob_give_up blob_list blob_publish blob_sweep blobs_deleted change claim configure_queue
    deregister events heartbeat history insert insert_plain list maintain prune_blobs prune_events prune_jobs record register settle stage_blobs stats
    workers
}

/// The arguments of a script, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.push(bytes);
        self
    }

    pub(crate) fn int(self, n: impl std::fmt::Display) -> Self {
        self.bytes(n.to_string())
    }

    pub(crate) fn push(&mut self, bytes: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(bytes.as_ref());
        self.ends.push(self.bytes.len());
    }

    /// Packs a value as the next argument.
    pub(crate) fn pack(&mut self, value: &impl Pack) {
        value.pack(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| &self.bytes[std::mem::replace(&mut from, *end)..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_does_and_names_parts_that_exist() {
        for script in Scripts::new().all() {
            let Script { name, code, .. } = script;
            assert!(code.starts_with("#!lua"), "{name} tells what it may do");
            assert!(!code.contains("no such part"), "{name}");
            assert!(!code.contains("--@"), "{name}");
        }
    }

    #[tokio::test]
    #[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    async fn the_server_takes_every_script() {
        let server = windlass_test_servers::RedisServer::shared().await.unwrap();
        let client = redis::Client::open(server.base_url()).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        for Script { name, code, sha } in Scripts::new().all() {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(code);
            let loaded: String = load.query_async(&mut conn).await.unwrap();
            assert_eq!(&loaded, sha, "{name}");
        }
    }

    #[test]
    fn each_script_is_known_by_a_digest_of_its_own() {
        let known = scripts();
        let digests: std::collections::BTreeSet<_> = known.iter().map(|(sha, _)| sha).collect();
        assert_eq!(digests.len(), known.len());
        assert!(digests.iter().all(|sha| sha.len() == 40), "{digests:?}");
        assert!(known.iter().any(|(_, name)| *name == "claim"));
    }

    #[test]
    fn every_script_has_its_contract_at_its_head() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lua");
        let names: Vec<&str> = Scripts::new().all().iter().map(|script| script.name).collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if name.starts_with("part_") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(names.contains(&name.as_str()), "{name} is not used");
            for told in ["-- KEYS: ", "-- ARGV: ", "-- Returns: "] {
                assert!(text.contains(told), "{name} does not tell its {told}");
            }
        }
    }
}
