//! A key with its certificates.

use std::sync::Arc;

use countersign_keys::SigningKey;
use pki_types::CertificateDer;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::{self, Side, TlsIdentityRefused};
use crate::key::TlsKey;

/// Who this device is in TLS: its key, and the chain of certificates that says so.
///
/// It answers as a client and, where its certificate says serverAuth, as a server.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    certified: Arc<CertifiedKey>,
    sides: Vec<Side>,
}

impl TlsIdentity {
    /// The identity of this key with its chain: certificates in DER, the device's own first, the root not among them.
    /// Whether the chain is valid is for the other side to say.
    ///
    /// # Errors
    /// [`TlsIdentityRefused`] if the first certificate is another key's, or is not one for TLS alone.
    pub fn new(key: Arc<SigningKey>, chain: &[Vec<u8>]) -> Result<Self, TlsIdentityRefused> {
        let key = TlsKey::new(key);
        let sides = certificate::inspect(chain, key.public())?;
        let chain = chain
            .iter()
            .map(|certificate| CertificateDer::from(certificate.clone()))
            .collect();
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, Arc::new(key))),
            sides,
        })
    }

    fn answer(&self, side: Side, offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable =
            self.sides.contains(&side) && self.certified.key.choose_scheme(offered).is_some();
        usable.then(|| Arc::clone(&self.certified))
    }
}

impl ResolvesClientCert for TlsIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.answer(Side::Client, sigschemes)
    }

    fn has_certs(&self) -> bool {
        self.sides.contains(&Side::Client)
    }
}

impl ResolvesServerCert for TlsIdentity {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.answer(Side::Server, client_hello.signature_schemes())
    }
}
