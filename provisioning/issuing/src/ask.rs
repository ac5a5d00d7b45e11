//! What is asked for.

use countersign_format::{AttestationHardware, DeviceIdentity, DeviceMetadata, Digest, Scope};
use countersign_keys::PublicKey;
use countersign_provisioning::{
    CertificateRequest, DeviceName, EndEntity, Profile, Serial, Validity,
};
use countersign_trust_store::UnixTime;

use crate::Error;

/// Certificates begin so many seconds before they are made, so that a device whose clock is a little behind can use its
/// own at once. The offline authority does the same.
const BACKDATE: u64 = 300;

/// Who has the key.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A PKCS#10 request, DER: its signature is verified.
    Request(Vec<u8>),
    /// A key whose possession was seen otherwise: in a secure element in the same room, in a renewal over TLS.
    Seen(PublicKey),
}

/// What goes into the certificate besides identity and key.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Days of validity, counted from five minutes ago; without effect where the profile has no end.
    pub days: u64,
    /// The organisation in the name.
    pub organization: Option<String>,
    /// What is known about the device.
    pub metadata: DeviceMetadata,
    /// What it may sign.
    pub scope: Option<Scope>,
    /// The hardware that the key lies in; whoever fills it in vouches for it.
    pub hardware: Option<AttestationHardware>,
    /// Host names.
    pub dns_names: Vec<String>,
    /// Whether to say that its revocation will never be published.
    pub no_rev_avail: bool,
}

impl Default for Contents {
    /// A year, and nothing else.
    fn default() -> Self {
        Self {
            days: 365,
            organization: None,
            metadata: DeviceMetadata::default(),
            scope: None,
            hardware: None,
            dns_names: Vec::new(),
            no_rev_avail: false,
        }
    }
}

/// One certificate that is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The key, and the proof that it is theirs.
    pub proof: Proof,
    /// The device that the asker may speak for; none where the request may name any.
    pub device: Option<DeviceIdentity>,
    /// The kind of certificate.
    pub profile: Profile,
    /// What goes into it.
    pub contents: Contents,
    /// The current certificate, when this one is to take its place.
    pub renews: Option<Serial>,
    /// The asker and its idempotency key, as one text that no other asker can produce.
    pub request: Option<String>,
    /// A contract manufacturer, who has devices of its own orders only; none may have all.
    pub manufacturer: Option<String>,
}

/// A request whose possession is proven, and what its certificate will say.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) public_key: PublicKey,
    pub(crate) key_hash: [u8; 32],
    pub(crate) device: DeviceIdentity,
    pub(crate) profile: Profile,
    pub(crate) end_entity: EndEntity,
    pub(crate) renews: Option<Serial>,
    pub(crate) request: Option<countersign_registry::RequestKey>,
    pub(crate) manufacturer: Option<String>,
    /// Who asks, for the audit log.
    pub(crate) by: Option<String>,
}

impl Ask {
    /// Verifies possession and fixes the contents; the certificate does not begin before its `issuer`'s.
    pub(crate) fn verify(self, now: u64, issuer: Validity) -> Result<Verified, Error> {
        // Of no use, and not for nothing, where nobody asks again.
        let digest = self.request.as_ref().map(|_| self.digest());
        let (public_key, device) = match &self.proof {
            Proof::Request(der) => {
                let request = CertificateRequest::verify(der)?;
                let device = request.identity(self.device.as_ref())?;
                (request.public_key().clone(), device)
            }
            Proof::Seen(key) => {
                let device = self.device.clone().ok_or_else(|| Error::Request {
                    reason: "nobody says which device the key belongs to: give its identity"
                        .to_owned(),
                    without_possession: false,
                })?;
                (key.clone(), device)
            }
        };
        let mut name = DeviceName::new(device.clone());
        if let Some(organization) = &self.contents.organization {
            name = name.with_organization(organization)?;
        }
        let contents = self.contents;
        let begin = UnixTime::from_secs(now.saturating_sub(BACKDATE)).max(issuer.not_before());
        let end_entity = EndEntity {
            name,
            metadata: contents.metadata,
            validity: Validity::days(begin, contents.days)?,
            scope: contents.scope,
            hardware: contents.hardware,
            dns_names: contents.dns_names,
            no_rev_avail: contents.no_rev_avail,
        };
        Ok(Verified {
            key_hash: *Digest::of(&public_key.to_spki_der()).as_bytes(),
            public_key,
            device,
            profile: self.profile,
            end_entity,
            renews: self.renews,
            request: self
                .request
                .zip(digest)
                .map(|(key, digest)| countersign_registry::RequestKey { key, digest }),
            manufacturer: self.manufacturer,
            by: None,
        })
    }

    /// What makes two askings the same: everything but the time.
    fn digest(&self) -> [u8; 32] {
        let proof = match &self.proof {
            Proof::Request(der) => der.clone(),
            Proof::Seen(key) => key.to_spki_der(),
        };
        let rest = format!(
            "{:?}\n{}\n{:?}\n{:?}\n{:?}",
            self.device, self.profile, self.contents, self.renews, self.manufacturer
        );
        let mut digest = countersign_format::DigestWriter::new();
        digest.update(Digest::of(&proof).as_bytes());
        digest.update(rest.as_bytes());
        *digest.finish().as_bytes()
    }
}
