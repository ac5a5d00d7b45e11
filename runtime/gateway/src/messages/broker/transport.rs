//! How a connection to a broker is made: over TLS with the device's key, to whom the operator's roots vouch for, or plain.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use countersign_hosting::{Read, read, read_lists};
use countersign_tls::TlsIdentity;
use countersign_trust_store::pem;
use rumqttc::{TlsConfiguration, Transport};
use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};

use super::Broker;

/// The longest file of roots, in bytes.
const MAX_ROOTS_BYTES: u64 = 1 << 20;

/// How the next connection is made.
pub(super) fn transport(broker: &Broker) -> anyhow::Result<Transport> {
    let Some(tls) = &broker.tls else {
        return Ok(Transport::Tcp);
    };
    let key = tls
        .key
        .source
        .open()
        .map_err(|reason| anyhow!("{reason}"))?;
    let identity = TlsIdentity::new(Arc::new(key), &tls.key.source.certificates()?)?;
    let mut roots = RootCertStore::empty();
    for root in certificates(&tls.roots)? {
        roots
            .add(root.into())
            .with_context(|| format!("a root in {} cannot be used", tls.roots.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    if !tls.lists.is_empty() {
        let mut lists = Vec::new();
        for path in &tls.lists {
            lists.extend(read_lists(path)?.into_iter().map(Into::into));
        }
        verifier = verifier.with_crls(lists);
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier.build()?)
        .with_client_cert_resolver(Arc::new(identity));
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(
        Arc::new(config),
    )))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    match read(path, MAX_ROOTS_BYTES)? {
        Read::Whole(bytes) => pem::certificates(&bytes)
            .with_context(|| format!("{} holds no certificates in PEM", path.display())),
        Read::TooLarge { size } => Err(anyhow!(
            "{} has {size} bytes, too many for roots",
            path.display()
        )),
    }
}
