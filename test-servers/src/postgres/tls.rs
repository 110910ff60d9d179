//! Certificates, made with the `openssl` command: no dependency, and Debian's PostgreSQL brings it.

use std::process::Command;

use crate::binaries;
use crate::error::Result;
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
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
";

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
