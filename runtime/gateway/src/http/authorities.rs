//! TLS of requests that components send: servers are whom the operator's own authorities say, and nobody else's.

use std::io;
use std::sync::Arc;

use countersign_runtime::http::{Connected, Secure, SecureFuture};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The authorities that are believed.
pub(crate) struct Authorities(TlsConnector);

impl Authorities {
    /// Those with these certificates, DER.
    ///
    /// # Errors
    /// A sentence, where one is no authority's certificate.
    pub(crate) fn new(certificates: &[Vec<u8>]) -> Result<Self, String> {
        let roots = roots(certificates)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl Secure for Authorities {
    fn secure<'a>(&'a self, server: &'a str, stream: TcpStream) -> SecureFuture<'a> {
        Box::pin(async move {
            let name = ServerName::try_from(server.to_owned()).map_err(io::Error::other)?;
            let stream = self.0.connect(name, stream).await?;
            Ok(Box::new(stream) as Box<dyn Connected>)
        })
    }
}

/// The same as a store of rustls's.
pub(super) fn roots(certificates: &[Vec<u8>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates) {
        let added = roots.add(CertificateDer::from(certificate.clone()));
        added.map_err(|error| format!("certificate {number} is no authority's: {error}"))?;
    }
    Ok(roots)
}
