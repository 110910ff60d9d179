//! TLS: whose certificates are trusted.

#[cfg(feature = "tls")]
mod on {
    use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};
    use rustls::crypto::{CryptoProvider, ring};
    use windlass_core::{Error, Result};

    use super::super::config;

    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

    /// A server whose certificate must be signed by one of these authorities.
    pub(crate) fn trusting(info: ConnectionInfo, pem: &[u8]) -> Result<ConnectionInfo> {
        if !pem.windows(BEGIN.len()).any(|part| part == BEGIN) {
            return Err(unreadable());
        }
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(config(
                "a certificate is given for a server that is not reached by TLS (`rediss`)",
            ));
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
        let client = Client::build_with_tls(info, certificates).map_err(|_| unreadable())?;
        Ok(client.get_connection_info().clone())
    }

    fn unreadable() -> Error {
        config("the certificates of the authorities can't be read: they must be in PEM")
    }

    /// Sees to it that the process has cryptography for rustls: the driver takes the one of the process, and panics when there is none or a choice. One that
    /// the application chose stays.
    pub(crate) fn prepare(info: &ConnectionInfo) -> Result<()> {
        match info.addr() {
            // Only a URL of the driver's own can ask for that.
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                Err(config("certificates are always verified"))
            }
            ConnectionAddr::TcpTls { .. } => {
                if CryptoProvider::get_default().is_none() {
                    // Another thread may have been faster.
                    let _ = ring::default_provider().install_default();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(not(feature = "tls"))]
mod off {
    use redis::{ConnectionAddr, ConnectionInfo};
    use windlass_core::{Error, Result};

    use super::super::config;

    pub(crate) fn trusting(_: ConnectionInfo, _: &[u8]) -> Result<ConnectionInfo> {
        Err(no_tls())
    }

    pub(crate) fn prepare(info: &ConnectionInfo) -> Result<()> {
        match info.addr() {
            ConnectionAddr::TcpTls { .. } => Err(no_tls()),
            _ => Ok(()),
        }
    }

    pub(crate) fn no_tls() -> Error {
        config(
            "encryption is asked for (`rediss`) and this build can't do it: turn on the cargo feature `tls` of windlass-redis",
        )
    }
}

#[cfg(not(feature = "tls"))]
pub(crate) use off::*;
#[cfg(feature = "tls")]
pub(crate) use on::*;
