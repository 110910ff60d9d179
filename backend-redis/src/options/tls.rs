//! TLS: whose certificates are trusted, and which one is shown.

/// What the options were given, in PEM.
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "a build without TLS refuses them"))]
pub(crate) struct Certificates {
    /// Of the authorities.
    pub(crate) trusted: Option<Vec<u8>>,
    /// The client's own, and its key.
    pub(crate) own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Certificates {
    #[cfg(feature = "tls")]
    fn is_empty(&self) -> bool {
        self.trusted.is_none() && self.own.is_none()
    }
}

#[cfg(feature = "tls")]
mod on {
    use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
    use rustls::crypto::{CryptoProvider, ring};
    use windlass_core::{Error, Result};

    use super::super::config;
    use super::Certificates;

    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

    /// A server that is reached with these certificates. `before` are those that the library has put there, which are replaced.
    pub(crate) fn with(
        info: ConnectionInfo,
        before: &Certificates,
        now: &Certificates,
    ) -> Result<ConnectionInfo> {
        let has_a_begin = |pem: &[u8]| pem.windows(BEGIN.len()).any(|part| part == BEGIN);
        let trusted = now.trusted.as_deref();
        if !trusted.is_none_or(has_a_begin)
            || !now.own.as_ref().is_none_or(|(pem, _)| has_a_begin(pem))
        {
            return Err(unreadable());
        }
        match info.addr() {
            ConnectionAddr::TcpTls { tls_params: Some(_), .. } if before.is_empty() => {
                return Err(config(
                    "the driver's description of the server brings certificates of its own: name all of them there, or none",
                ));
            }
            ConnectionAddr::TcpTls { .. } => {}
            _ => {
                return Err(config(
                    "a certificate is given for a server that is not reached by TLS (`rediss`)",
                ));
            }
        }
        let own = now.own.clone();
        let client_tls =
            own.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: now.trusted.clone() };
        let client = Client::build_with_tls(info, certificates).map_err(|_| unreadable())?;
        Ok(client.get_connection_info().clone())
    }

    fn unreadable() -> Error {
        config("the certificates, or the key, can't be read: they must be in PEM")
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
    use super::Certificates;

    pub(crate) fn with(
        _: ConnectionInfo,
        _: &Certificates,
        _: &Certificates,
    ) -> Result<ConnectionInfo> {
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
