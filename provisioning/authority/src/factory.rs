//! Which factory identities of other authorities are believed.
//!
//! Every authority below the root may name any device. So what another one issued counts only where the configuration says
//! whose it is and which devices it may name. Those of this registry need no such word.

use std::path::Path;

use anyhow::Context as _;
use countersign_format::Digest;
use countersign_trust_store::{Certificate, pem as pem_files};

use crate::clients::Client;
use crate::config;
use crate::keys;
use crate::tokens::{Action, Scope};

/// The authorities that are believed, each with its reach.
#[derive(Clone, Debug, Default)]
pub struct Factories(Vec<(Digest, Scope)>);

impl Factories {
    /// What the configuration says.
    ///
    /// # Errors
    /// Which word of it cannot be.
    pub fn new(said: &[config::Factory]) -> anyhow::Result<Self> {
        let read = |factory: &config::Factory| {
            let issuer = issuer(&factory.issuer).context("[[factory]]")?;
            let scope = Scope {
                actions: [Action::Enrol].into(),
                devices: factory.devices.clone(),
                profiles: ["tls".to_owned()].into(),
                order: factory.order.clone(),
            };
            Ok((issuer, scope.check().context("[[factory]]")?))
        };
        said.iter()
            .map(read)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// The reach of the authority that issued a client's factory identity, if it may name this device.
    #[must_use]
    pub fn of(&self, client: &Client) -> Option<&Scope> {
        self.0
            .iter()
            .filter(|(issuer, _)| client.factory && *issuer == client.issuer)
            .map(|(_, scope)| scope)
            .find(|scope| scope.allows(Action::Enrol, &client.device))
    }
}

/// The key of an authority that the configuration names: by the SHA-256 of its SubjectPublicKeyInfo, or by the file whose first
/// certificate is its.
pub(crate) fn issuer(said: &str) -> anyhow::Result<Digest> {
    if let Ok(digest) = said.parse() {
        return Ok(digest);
    }
    let path = Path::new(said);
    let refused = || {
        format!(
            "{}, an issuer, is no certificate; name the file of one, or write the SHA-256 of its SubjectPublicKeyInfo in hexadecimal",
            path.display()
        )
    };
    let found = pem_files::certificates(&keys::read(path)?).with_context(refused)?;
    let certificate = found.first().with_context(refused)?;
    let certificate = Certificate::parse(certificate).with_context(refused)?;
    Ok(certificate.spki_sha256())
}
