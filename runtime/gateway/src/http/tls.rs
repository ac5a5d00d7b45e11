//! TLS on a listener, with a key that stays in its hardware.
//!
//! Each handshake is a signature, for which rustls waits; [`accept`] has it made on a thread where waiting is no harm.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use countersign_format::{Digest, DigestWriter};
use countersign_keys::SigningKey;
use countersign_tls::TlsIdentity;
use rustls::ServerConfig;
use rustls::server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::authorities::roots;
use crate::config::Tls;

/// Most signatures that are waited for at the same time. Hardware makes one after the other.
const SIGNATURES: usize = 4;

static SIGNING: Semaphore = Semaphore::const_new(SIGNATURES);

/// What whoever connects to an address meets.
#[derive(Clone)]
pub(super) enum Met {
    /// Requests are read as they come.
    Plain,
    Tls(Arc<ServerConfig>),
    /// The connection's end.
    Nothing,
}

/// What protects an address.
#[derive(Clone)]
pub(super) struct Protection {
    pub(super) met: Met,
    /// SHA-256 of what is shown and who is believed. Whoever came under other rules than those of now is to go.
    rules: Digest,
}

impl Protection {
    /// Of an address that anybody may read along.
    pub(super) fn none() -> Self {
        Self {
            met: Met::Plain,
            rules: DigestWriter::new().finish(),
        }
    }

    /// Of an address that nobody is to reach as long as what protects it is not there.
    pub(super) fn closed() -> Self {
        Self {
            met: Met::Nothing,
            rules: Digest::of(b"closed"),
        }
    }

    /// Of an address as it is wanted, with the key that this names.
    pub(super) fn by(tls: &Tls, key: SigningKey) -> anyhow::Result<Self> {
        let mut rules = DigestWriter::new();
        let config = server(tls, key, &mut rules)?;
        Ok(Self {
            met: Met::Tls(config),
            rules: rules.finish(),
        })
    }

    /// Under rules that a test makes up.
    #[cfg(test)]
    pub(super) fn in_words(rules: &str) -> Self {
        Self {
            met: Met::Plain,
            rules: Digest::of(rules.as_bytes()),
        }
    }

    /// Whether the other lets in the same, and shows them the same.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

fn server(
    tls: &Tls,
    key: SigningKey,
    rules: &mut DigestWriter,
) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = tls.key.source.certificates()?;
    let clients = tls.clients.iter().flat_map(|clients| &clients.all);
    for (kind, certificate) in chain
        .iter()
        .map(|one| (1, one))
        .chain(clients.map(|one| (2, one)))
    {
        rules.update(&[kind]);
        rules.update(Digest::of(certificate).as_bytes());
    }
    let identity = TlsIdentity::new(Arc::new(key), &chain)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let authorities = roots(&clients.all).map_err(|error| anyhow!("clients: {error}"))?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            let verifier = verifier.build().context("clients")?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if tls.clients.is_some() {
        // Who is known by a certificate shows it each time.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(Arc::new(config))
}

/// Makes a connection a protected one, until `by`. `None`: whoever is there did not do his part, or the hardware did not.
pub(super) async fn accept<S>(
    config: Arc<ServerConfig>,
    stream: S,
    by: tokio::time::Instant,
) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = hello.await.ok()?;
        let one = SIGNING.acquire().await.ok()?;
        // Here the certificate is shown and signed for; what follows is the other side's part.
        // The permit goes when the hardware has answered, whether anybody waits for that any more or not.
        let signed = tokio::task::spawn_blocking(move || {
            let _one = one;
            hello.into_stream(config)
        });
        let mut rest = signed.await.ok()?;
        // Whoever is asked for another key share is signed for only now.
        std::future::poll_fn(move |cx| tokio::task::block_in_place(|| Pin::new(&mut rest).poll(cx)))
            .await
            .ok()
    };
    timeout_at(by, handshake).await.ok().flatten()
}
