//! Certificates, made with the `openssl` command: no dependency, and Debian's PostgreSQL brings it.

use std::path::Path;
use std::process::Command;

use crate::binaries;
use crate::error::{Context, Result};
use crate::home::{Home, run};

pub(crate) const CA: &str = "ca.crt";
pub(crate) const CERTIFICATE: &str = "server.crt";
pub(crate) const KEY: &str = "server.key";

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
";

/// The certificate of one server, for another that is to be trusted alike.
#[derive(Debug, Clone)]
pub(crate) struct Certificates(Vec<(&'static str, String)>);

impl Certificates {
    /// Those in the folder of a server.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let read = |name: &'static str| {
            let text = std::fs::read_to_string(folder.join(name));
            Ok((name, text.context(|| format!("{name} of another server"))?))
        };
        Ok(Self([CA, CERTIFICATE, KEY].into_iter().map(read).collect::<Result<_>>()?))
    }

    pub(crate) fn put(&self, home: &Home) -> Result<()> {
        self.0.iter().try_for_each(|(name, text)| home.write(name, text).map(drop))
    }
}

/// Makes a CA, and a certificate of the server that it signed.
pub(crate) fn make(home: &Home) -> Result<()> {
    home.write("tls.cnf", CONFIG)?;
    run(request(home)?.args([
        "-extensions",
        "ca",
        "-subj",
        "/CN=Windlass test CA",
        "-keyout",
        "ca.key",
        "-out",
        CA,
    ]))?;
    let mut server = request(home)?;
    server.args(["-extensions", "server", "-subj", "/CN=localhost", "-CA", CA, "-CAkey", "ca.key"]);
    run(server.args(["-keyout", KEY, "-out", CERTIFICATE]))
}

fn request(home: &Home) -> Result<Command> {
    let mut openssl = home.command(&binaries::program("openssl", "openssl")?);
    openssl.args(["req", "-x509", "-config", "tls.cnf", "-days", "2", "-nodes"]);
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    Ok(openssl)
}
