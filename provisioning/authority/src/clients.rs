//! Who a TLS client is: the trust store's verdict on its certificate.
//!
//! Decided here: that a client's chain leads to this authority's own root, is for TLS (or is a factory identity, which
//! has no other purpose than to say who the device is), is not revoked, and names a device. What it may do then is
//! decided by scopes.

use std::sync::{Arc, RwLock};

use countersign_format::{DeviceIdentity, Digest};
use countersign_trust_store::{
    Anchors, Certificate, EvidencePolicy, Now, PathProfile, Rejection, TrustState, UnixTime,
    VerifiedChain, VerifiedEvidence, oid, profile,
};
use pki_types::CertificateDer;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};

/// A device's certificate for TLS, shown by a client.
const TLS: PathProfile = PathProfile {
    end_entity: &profile::TLS,
    intermediate: &profile::INTERMEDIATE,
    purpose: &oid::CLIENT_AUTH,
};

/// A factory identity, shown by a client.
const FACTORY: PathProfile = PathProfile {
    end_entity: &profile::IDEVID,
    intermediate: &profile::INTERMEDIATE,
    purpose: &oid::CLIENT_AUTH,
};

/// A client whose certificate was accepted in the handshake of this connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// The device that its certificate names.
    pub device: DeviceIdentity,
    /// The serial of the certificate, lower-case hexadecimal without leading zeros' octets.
    pub serial: String,
    /// The certificate's key, as SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
    /// Whether it is a factory identity.
    pub factory: bool,
    /// SHA-256 of the SubjectPublicKeyInfo of who issued its certificate.
    pub issuer: Digest,
    /// Until when it and all above it are valid.
    pub valid_until: UnixTime,
}

impl Client {
    /// Whether its certificate, or one above it, is no longer valid. A connection may live longer than they do.
    #[must_use]
    pub fn has_expired(&self, now: UnixTime) -> bool {
        now > self.valid_until
    }
}

/// Judges clients' certificates.
#[derive(Debug)]
pub struct Clients {
    anchors: Anchors,
    /// The certificates between devices and the root, for clients that send their own alone.
    intermediates: Vec<Vec<u8>>,
    state: RwLock<Arc<TrustState>>,
    algorithms: WebPkiSupportedAlgorithms,
    clock: fn() -> UnixTime,
}

/// Why a client's certificate was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientRefused {
    /// The trust store's verdict.
    #[error("the client's certificate is refused: {0}")]
    Rejected(Box<Rejection>),
    /// It names no device.
    #[error(
        "the client's certificate names no device, so nobody knows who asks; use one with a hardwareModuleName"
    )]
    Nameless,
}

impl Clients {
    /// A judge under these roots.
    #[must_use]
    pub fn new(
        anchors: Anchors,
        intermediates: Vec<Vec<u8>>,
        state: TrustState,
        provider: &CryptoProvider,
        clock: fn() -> UnixTime,
    ) -> Self {
        Self {
            anchors,
            intermediates,
            state: RwLock::new(Arc::new(state)),
            algorithms: provider.signature_verification_algorithms,
            clock,
        }
    }

    /// Takes newer revocation lists.
    pub fn set_state(&self, state: TrustState) {
        let mut held = self
            .state
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = Arc::new(state);
    }

    /// The verdict on what a device says of itself, and whose attestation key said it. `shown` are the certificates in it.
    ///
    /// # Errors
    /// The trust store's verdict.
    pub fn attested(
        &self,
        evidence: &[u8],
        shown: &[Vec<u8>],
        policy: &EvidencePolicy,
    ) -> Result<(VerifiedEvidence, Client), Box<Rejection>> {
        let (now, state) = (Now::at((self.clock)()), self.state());
        let verified = self
            .anchors
            .verify_evidence(evidence, policy, &now, &state)
            .map_err(Box::new)?;
        let chain = verified.chain();
        let client = Client {
            // The certificate's, which the verdict compared with it.
            device: verified.claims().device().clone(),
            serial: serial_of(chain.leaf()),
            spki: chain.leaf().spki().to_vec(),
            factory: false,
            issuer: issuer_of(chain, shown),
            valid_until: chain.valid_until(),
        };
        Ok((verified, client))
    }

    fn state(&self) -> Arc<TrustState> {
        let held = self.state.read();
        Arc::clone(&held.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The verdict on a chain, the client's own certificate first.
    ///
    /// # Errors
    /// [`ClientRefused`].
    pub fn judge(&self, chain: &[Vec<u8>]) -> Result<Client, ClientRefused> {
        let (now, state) = (Now::at((self.clock)()), self.state());
        let mut chain = chain.to_vec();
        if chain.len() == 1 {
            chain.extend(self.intermediates.iter().cloned());
        }
        let verify = |profile| self.anchors.verify_chain(&chain, profile, &now, &state);
        match verify(&TLS) {
            Ok(verified) => client(&verified, &chain, false),
            Err(rejection) => match verify(&FACTORY) {
                Ok(verified) => client(&verified, &chain, true),
                Err(_) => Err(ClientRefused::Rejected(Box::new(rejection))),
            },
        }
    }
}

/// The client at the beginning of `shown`, which was verified in this order and ends below the root.
fn client(
    chain: &VerifiedChain,
    shown: &[Vec<u8>],
    factory: bool,
) -> Result<Client, ClientRefused> {
    let device = chain.device().ok_or(ClientRefused::Nameless)?;
    Ok(Client {
        device: device.identity().clone(),
        serial: serial_of(chain.leaf()),
        spki: chain.leaf().spki().to_vec(),
        factory,
        issuer: issuer_of(chain, shown),
        valid_until: chain.valid_until(),
    })
}

/// SHA-256 of the key that issued the first certificate of a chain.
fn issuer_of(chain: &VerifiedChain, shown: &[Vec<u8>]) -> Digest {
    shown
        .get(1)
        .and_then(|above| Certificate::parse(above).ok())
        .map_or_else(|| chain.anchor_spki_sha256(), |above| above.spki_sha256())
}

/// A certificate's serial as the registry writes it.
fn serial_of(certificate: &Certificate) -> String {
    certificate.serial().replace(':', "").to_lowercase()
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        // Whoever has only a token has no certificate yet. Each route asks for what it needs.
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain: Vec<Vec<u8>> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| certificate.to_vec())
            .collect();
        match self.judge(&chain) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refused) => {
                tracing::warn!(reason = %refused, "client certificate refused");
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(
                    OtherError(Arc::new(refused)),
                )))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tg25_a_certificate_ends_while_its_connection_lives() {
        let client = Client {
            device: "press-1".parse().expect("an identity"),
            serial: "01".to_owned(),
            spki: Vec::new(),
            factory: false,
            issuer: Digest::of(b""),
            valid_until: UnixTime::from_secs(1_000),
        };
        assert!(!client.has_expired(UnixTime::from_secs(1_000)));
        assert!(client.has_expired(UnixTime::from_secs(1_001)));
    }
}
