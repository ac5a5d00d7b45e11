//! Both sides are rustls, in one process.

use std::sync::Arc;

use countersign_keys::{Algorithm, Error, ErrorKind, PublicKey, Signer, SigningKey};
use countersign_testing::{Profile, TestPki, throwaway_key};
use countersign_tls::{TlsIdentity, TlsIdentityRefused, TlsKey};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ProtocolVersion, ServerConfig,
    ServerConnection, SupportedProtocolVersion, version,
};

use crate::pki::{certify, roots};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn identity(pki: &TestPki, algorithm: Algorithm) -> TlsIdentity {
    let key = throwaway_key(algorithm);
    let certified = certify(pki, Profile::Tls, "press-4", key.public_key());
    TlsIdentity::new(Arc::new(key), &certified.chain).expect("an identity")
}

fn server(pki: &TestPki, identity: TlsIdentity) -> Arc<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pki)), provider())
        .build()
        .expect("a verifier");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(identity));
    Arc::new(config)
}

fn client(
    pki: &TestPki,
    identity: impl rustls::client::ResolvesClientCert + 'static,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots(pki))
        .with_client_cert_resolver(Arc::new(identity));
    Arc::new(config)
}

/// Lets the two talk until both have shaken hands or one refuses.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..20 {
        pass(&mut client, &mut server)?;
        pass(&mut server, &mut client)?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok((client, server));
        }
    }
    panic!("no end of shaking hands");
}

fn pass<A, B>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).expect("memory");
    }
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        to.read_tls(&mut wire).expect("memory");
        to.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn both_versions_and_both_algorithms_on_both_sides() {
    for algorithm in [Algorithm::Esp256, Algorithm::Ed25519] {
        let pki = TestPki::new();
        for (version, number) in [
            (&version::TLS12, ProtocolVersion::TLSv1_2),
            (&version::TLS13, ProtocolVersion::TLSv1_3),
        ] {
            let device = identity(&pki, algorithm);
            let (client, server) = shake(
                client(&pki, device, version),
                server(&pki, identity(&pki, algorithm)),
            )
            .unwrap_or_else(|error| panic!("{algorithm:?}, {number:?}: {error}"));
            assert_eq!(client.protocol_version(), Some(number));
            let seen = server.peer_certificates().expect("a client's certificates");
            assert_eq!(seen.len(), 2, "the device's and its authority's");
        }
    }
}

#[test]
fn tf08_a_certificate_of_another_key_is_refused_before_anything_is_said() {
    let pki = TestPki::new();
    let key = Arc::new(throwaway_key(Algorithm::Esp256));
    let other = throwaway_key(Algorithm::Esp256);
    let certified = certify(&pki, Profile::Tls, "press-4", other.public_key());
    assert_eq!(
        TlsIdentity::new(Arc::clone(&key), &certified.chain).map(drop),
        Err(TlsIdentityRefused::OtherKey)
    );
    // rustls can see it too, because the key tells its public half.
    let chain = certified.chain.iter().map(|der| der.clone().into());
    let pair = CertifiedKey::new(chain.collect(), Arc::new(TlsKey::new(key)));
    pair.keys_match().expect_err("another key");
}

#[test]
fn tc13_certificates_for_other_purposes_are_none_for_tls() {
    let pki = TestPki::new();
    for profile in [
        Profile::ComponentSigner,
        Profile::GuestData,
        Profile::Attestation,
        Profile::IDevId,
    ] {
        let key = Arc::new(throwaway_key(Algorithm::Esp256));
        let certified = certify(&pki, profile, "press-4", key.public_key());
        assert_eq!(
            TlsIdentity::new(Arc::clone(&key), &certified.chain).map(drop),
            Err(TlsIdentityRefused::Purpose),
            "{profile}"
        );
        // Whoever goes round that is refused by the other side, unless the certificate names no purpose at all.
        let chain = certified.chain.iter().map(|der| der.clone().into());
        let pair = CertifiedKey::new(chain.collect(), Arc::new(TlsKey::new(key)));
        let forced = rustls::sign::SingleCertAndKey::from(pair);
        let outcome = shake(
            client(&pki, forced, &version::TLS13),
            server(&pki, identity(&pki, Algorithm::Esp256)),
        );
        assert_eq!(outcome.is_err(), profile != Profile::IDevId, "{profile}");
    }
}

#[test]
fn what_is_no_chain_is_refused() {
    let pki = TestPki::builder().profile(Profile::Tls).build();
    let refused = |chain: &[Vec<u8>]| {
        TlsIdentity::new(Arc::new(pki.device_key()), chain)
            .map(drop)
            .expect_err("no identity")
    };
    TlsIdentity::new(Arc::new(pki.device_key()), pki.chain()).expect("the PKI's own");
    let [own, authority] = pki.chain() else {
        panic!("two certificates")
    };
    assert_eq!(refused(&[]), TlsIdentityRefused::Count { count: 0 });
    let many = vec![own.clone(); 4];
    assert_eq!(refused(&many), TlsIdentityRefused::Count { count: 4 });
    let cut = authority[..authority.len() - 1].to_vec();
    assert_eq!(
        refused(&[own.clone(), cut]),
        TlsIdentityRefused::Malformed { number: 2 }
    );
    assert_eq!(
        refused(&[authority.clone(), own.clone()]),
        TlsIdentityRefused::OtherKey
    );
    let authority_key = pki.authority_keys().pop().expect("an authority");
    assert_eq!(
        TlsIdentity::new(Arc::new(authority_key), std::slice::from_ref(authority)).map(drop),
        Err(TlsIdentityRefused::Authority)
    );
}

/// A key whose store fails, or signs something else than what it is asked to.
struct Broken {
    public: PublicKey,
    wrong: Option<[u8; 64]>,
}

impl Signer for Broken {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unchecked(&self, _message: &[u8]) -> Result<[u8; 64], Error> {
        self.wrong
            .ok_or_else(|| Error::new(ErrorKind::Timeout, "the chip did not answer; try again"))
    }
}

#[test]
fn a_store_that_fails_ends_the_handshake_with_its_own_words() {
    let pki = TestPki::new();
    let key = throwaway_key(Algorithm::Esp256);
    let other = *key.sign(b"something else").expect("a signature").as_bytes();
    for (wrong, expected) in [(None, "did not answer"), (Some(other), "wrong signature")] {
        let public = key.public_key().clone();
        let chain = certify(&pki, Profile::Tls, "press-4", &public).chain;
        let broken = SigningKey::new(Broken { public, wrong });
        let device = TlsIdentity::new(Arc::new(broken), &chain).expect("an identity");
        let error = shake(
            client(&pki, device, &version::TLS13),
            server(&pki, identity(&pki, Algorithm::Esp256)),
        )
        .map(drop)
        .expect_err("no signature");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
