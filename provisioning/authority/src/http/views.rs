//! What is read and answered, as types: the OpenAPI document is made from them.

use countersign_registry::{Certificate, Device};
use countersign_trust_store::UnixTime;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A request for a certificate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProvisionRequest {
    /// The PKCS#10 request: PEM, or base64 of DER. It is signed by the key that the certificate is for.
    pub(super) csr: String,
    /// The device; may be left out where the request names it.
    #[serde(default)]
    pub(super) device_id: Option<String>,
    /// The kind of certificate; may be left out where the credential allows one alone.
    #[serde(default)]
    pub(super) profile: Option<String>,
}

/// A certificate that was issued, with what is needed to use it. The private key never left the device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProvisionAnswer {
    /// The device.
    pub(super) device_id: String,
    /// The kind of certificate.
    pub(super) profile: String,
    /// The certificate's serial number, hexadecimal.
    pub(super) serial: String,
    /// The certificate, PEM.
    pub(super) certificate: String,
    /// The authorities above it, PEM, the issuer first and the root last.
    pub(super) chain: String,
    /// The device's public key, PEM.
    pub(super) public_key: String,
    /// First second of validity.
    pub(super) not_before: String,
    /// Last second of validity.
    pub(super) not_after: String,
    /// What the device makes privacy tokens with; only where there are such tokens and its hardware's hash is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) privacy_tokens: Option<PrivacyView>,
}

/// What a device makes privacy tokens with.
#[derive(Serialize, ToSchema)]
pub(super) struct PrivacyView {
    /// `given`: the tables are here, and are not given again. `given-before`: an operator may print them.
    /// `unavailable`: the same request, sent again, may have them.
    pub(super) state: &'static str,
    /// The hash of its hardware's identity, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hardware_hash: Option<String>,
    /// Its three tables; none unless they are given now.
    pub(super) tables: Vec<TableView>,
}

/// Keys are shown to nobody.
impl std::fmt::Debug for PrivacyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivacyView({}, ..)", self.state)
    }
}

/// A table of privacy tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct TableView {
    /// Its number.
    pub(super) table: u16,
    /// Its master key, 32 bytes in base64.
    pub(super) master_key: String,
}

/// A privacy token, and the question whether a registered device made it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidateRequest {
    /// The token, 65 bytes in base64.
    #[schema(min_length = 88, max_length = 88)]
    pub(super) token: String,
}

/// The answer to a privacy token.
#[derive(Serialize, ToSchema)]
pub(super) struct ValidateAnswer {
    /// `PASS` or `FAIL`.
    pub(super) result: String,
}

/// A device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeviceView {
    /// Its identity.
    pub(super) device_id: String,
    /// Its type.
    pub(super) device_type: String,
    /// Its family.
    pub(super) family: String,
    /// Revision of the hardware.
    pub(super) hardware_revision: String,
    /// Version of the firmware.
    pub(super) firmware_version: String,
    /// `registered`, `approved` or `retired`.
    pub(super) state: String,
    /// The order that it belongs to.
    pub(super) order: Option<String>,
    /// When it was recorded.
    pub(super) recorded_at: String,
    /// Its certificates; only where one device is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificates: Option<Vec<CertificateView>>,
}

impl From<&Device> for DeviceView {
    fn from(device: &Device) -> Self {
        Self {
            device_id: device.id.to_string(),
            device_type: device.device_type.clone(),
            family: device.family.clone(),
            hardware_revision: device.revision.clone(),
            firmware_version: device.firmware.clone(),
            state: device.state.to_string(),
            order: device.order.clone(),
            recorded_at: time(device.recorded_at),
            certificates: None,
        }
    }
}

/// A certificate in the registry.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateView {
    /// Its serial number, hexadecimal.
    pub(super) serial: String,
    /// Whose it is.
    pub(super) device_id: String,
    /// Its kind.
    pub(super) profile: String,
    /// `reserved`, `issued`, `superseded`, `abandoned` or `revoked`.
    pub(super) state: String,
    /// First second of validity.
    pub(super) not_before: String,
    /// Last second of validity.
    pub(super) not_after: String,
    /// Since when it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked_at: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

impl From<&Certificate> for CertificateView {
    fn from(certificate: &Certificate) -> Self {
        Self {
            serial: certificate.serial.to_string(),
            device_id: certificate.device.to_string(),
            profile: certificate.profile.to_string(),
            state: certificate.state.to_string(),
            not_before: time(certificate.not_before),
            not_after: time(certificate.not_after),
            revoked_at: certificate.revoked.map(|(at, _)| time(at)),
            reason: certificate.revoked.map(|(_, reason)| reason.to_string()),
        }
    }
}

/// A certificate that is revoked, and what others have to do about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevokedView {
    #[serde(flatten)]
    certificate: CertificateView,
    /// Certificates that are revoked with this, and that others issued: on this authority's list they are not.
    elsewhere: Vec<ElsewhereView>,
    /// What is to be done about those.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// A certificate of another authority.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ElsewhereView {
    /// Its serial number, hexadecimal.
    serial: String,
    /// SHA-256 of the key that issued it, hexadecimal.
    issuer: String,
}

impl RevokedView {
    pub(super) fn new(certificate: &Certificate, elsewhere: &[Certificate]) -> Self {
        let view = |certificate: &Certificate| ElsewhereView {
            serial: certificate.serial.to_string(),
            issuer: hex::encode(certificate.issuer),
        };
        let remedy = "revoke these at the authorities that issued them, unless that is done: hosts accept them until they are on their lists";
        Self {
            certificate: CertificateView::from(certificate),
            elsewhere: elsewhere.iter().map(view).collect(),
            remedy: (!elsewhere.is_empty()).then_some(remedy),
        }
    }
}

/// A part of the list of devices.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DevicePage {
    /// The devices, by identity.
    pub(super) devices: Vec<DeviceView>,
    /// What to give as `after` for the next part; none on the last.
    pub(super) next: Option<String>,
}

/// Which devices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// Devices of this family.
    pub(super) family: Option<String>,
    /// Devices after this one.
    pub(super) after: Option<String>,
    /// At most as many; 100 unless said, 1,000 at the outside.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<u32>,
}

/// A device that may have certificates.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveRequest {
    /// The order that it belongs to; it must be there.
    #[serde(default)]
    pub(super) order: Option<String>,
    /// Its type.
    #[serde(default)]
    pub(super) device_type: String,
    /// Its family.
    #[serde(default)]
    pub(super) family: String,
    /// Revision of the hardware.
    #[serde(default)]
    pub(super) hardware_revision: String,
    /// Version of the firmware.
    #[serde(default)]
    pub(super) firmware_version: String,
}

/// Why a certificate is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeRequest {
    /// `unspecified`, `key-compromise`, `ca-compromise`, `affiliation-changed`, `superseded`, `cessation-of-operation`
    /// or `privilege-withdrawn`.
    pub(super) reason: String,
}

/// How far ahead to look.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExpiringQuery {
    /// Days from now; 30 unless said.
    #[param(minimum = 0, maximum = 36500)]
    pub(super) days: Option<u32>,
}

/// Certificates that end soon.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExpiringAnswer {
    /// The first to end first; 1,000 at most.
    pub(super) certificates: Vec<CertificateView>,
}

/// A challenge.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChallengeAnswer {
    /// The challenge, base64.
    pub(super) challenge: String,
    /// What stands before it in the bytes to sign, base64.
    pub(super) label: String,
    /// Seconds in which it is to be answered.
    pub(super) seconds: u64,
}

/// An answer to a challenge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthenticateRequest {
    /// The challenge as it came, base64.
    pub(super) challenge: String,
    /// The device's TLS certificate and those above it without the root, PEM.
    pub(super) chain: String,
    /// The signature over label and challenge by the certificate's key, base64: DER for P-256, 64 bytes for Ed25519.
    pub(super) signature: String,
}

/// Who answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuthenticateAnswer {
    /// Always true: whoever does not pass gets a problem.
    pub(super) authenticated: bool,
    /// The device.
    pub(super) device_id: String,
    /// The certificate's serial number.
    pub(super) serial: String,
    /// The device's type, as the registry has it.
    pub(super) device_type: String,
    /// The device's family.
    pub(super) family: String,
    /// Version of the firmware.
    pub(super) firmware_version: String,
}

/// What a device says of itself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttestRequest {
    /// The challenge as it came, base64: the attestation's nonce is these bytes.
    pub(super) challenge: String,
    /// The attestation (`application/vnd.countersign.evidence`), base64.
    pub(super) evidence: String,
}

/// The verdict on it. What is self-reported is the device's own word, worth as much as the expected registers make it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttestAnswer {
    /// Always true: what is not accepted gets a problem.
    pub(super) attested: bool,
    /// The device.
    pub(super) device_id: String,
    /// The serial number of the attestation key's certificate.
    pub(super) serial: String,
    /// What vouches for it: `software`, `tpm-quote`, `tpm-key` or `atecc608-key`.
    pub(super) kind: String,
    /// The values of the TPM's registers, hexadecimal, by number.
    pub(super) registers: std::collections::BTreeMap<String, String>,
    /// SHA-256 of the SubjectPublicKeyInfo of the key that the hardware vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// The ATECC608's serial number, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chip: Option<String>,
    /// Self-reported: the program that answered, its version and SHA-256.
    pub(super) program: String,
    /// Self-reported.
    pub(super) program_version: String,
    /// Self-reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) program_sha256: Option<String>,
    /// Self-reported: the SHA-256 of its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) configuration_sha256: Option<String>,
    /// Self-reported: the run of the host, hexadecimal.
    pub(super) boot: String,
    /// The device's type, as the registry has it.
    pub(super) device_type: String,
    /// The device's family.
    pub(super) family: String,
    /// Version of the firmware, as the registry has it.
    pub(super) firmware_version: String,
}

/// Counts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsAnswer {
    /// Devices by state.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub(super) devices: std::collections::BTreeMap<String, u64>,
    /// Certificates by state.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub(super) certificates: std::collections::BTreeMap<String, u64>,
    /// Leaves in the audit log.
    pub(super) audit_leaves: u64,
    /// Leaves that wait for their place in it.
    pub(super) audit_waiting: u64,
}

/// What this is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RootAnswer {
    /// The program.
    pub(super) name: &'static str,
    /// Its version.
    pub(super) version: &'static str,
    /// Where its interface is described.
    pub(super) docs: &'static str,
    /// Where enrolment by EST begins.
    pub(super) est: &'static str,
}

/// Whether it works.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    /// `ok` or `degraded`.
    pub(super) status: &'static str,
    /// Whether the registry answers.
    pub(super) registry: bool,
    /// Whether the issuing key is open.
    pub(super) key: bool,
    /// What keeps it from issuing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wrong: Option<String>,
}

/// A time as RFC 3339 has it.
pub(crate) fn time(seconds: u64) -> String {
    UnixTime::from_secs(seconds).to_string()
}
