//! The verdict on a device's attestation, in answer to a challenge of this process.
//!
//! Anybody may ask: what is shown is the asker's own, and a challenge is answered once. What must be in it is decided by the
//! configuration, whether it holds by the trust store, whether device and certificate stand by the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64ct::{Base64, Encoding as _};
use countersign_format::limits::MAX_EVIDENCE_BYTES;
use countersign_format::{EvidenceDocument, EvidenceNonce};
use countersign_provisioning::Serial;
use countersign_registry::{Device, DeviceState};
use countersign_trust_store::{AttestedHardware, VerifiedEvidence};

use super::views::{AttestAnswer, AttestRequest};
use crate::clients::Client;
use crate::http::App;
use crate::problem::{Code, Problem, ProblemBody};

/// Where it is asked for.
pub(super) const ROUTE: &str = "/api/v1/attest";

/// Bytes of the largest question: an attestation (RFC 4648 makes four octets of three) and what is around it.
pub(super) const MAX_BODY_BYTES: u64 = MAX_EVIDENCE_BYTES.div_ceil(3) * 4 + 1024;

/// What a device is and what it started, by its attestation: hardware's word, the device's own, and what the registry has.
#[utoipa::path(post, path = "/api/v1/attest", request_body = AttestRequest,
    responses((status = 200, body = AttestAnswer), (status = 400, body = ProblemBody), (status = 403, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn attest(
    State(app): State<Arc<App>>,
    Json(body): Json<AttestRequest>,
) -> Result<Json<AttestAnswer>, Problem> {
    let malformed = |what: &str| Problem::new(Code::BadRequest).detail(what);
    let challenge = Base64::decode_vec(&body.challenge)
        .map_err(|_| malformed("the challenge is not base64"))?;
    let evidence = Base64::decode_vec(&body.evidence)
        .map_err(|_| malformed("the attestation is not base64"))?;
    let outcome = judge(&app, &challenge, &evidence).await;
    match &outcome {
        Ok((_, client, _)) => {
            app.metrics.attested("accepted");
            tracing::info!(device = client.device.as_str(), "attested");
        }
        Err(refused) if refused.problem.code() == Code::Attestation => {
            app.metrics.attested(refused.word);
            tracing::warn!(verdict = refused.word, "an attestation is refused");
        }
        Err(_) => {}
    }
    outcome
        .map(|(verified, client, device)| Json(answer(&verified, client, device)))
        .map_err(|refused| refused.problem)
}

/// Why there is no verdict, or none that is good.
struct Refused {
    /// Of the metrics.
    word: &'static str,
    problem: Problem,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let word = problem.code().as_str();
        Self { word, problem }
    }
}

fn refused(word: &'static str, detail: &str) -> Refused {
    Refused {
        word,
        problem: Problem::new(Code::Attestation).detail(format!("{word}: {detail}")),
    }
}

async fn judge(
    app: &App,
    challenge: &[u8],
    evidence: &[u8],
) -> Result<(VerifiedEvidence, Client, Device), Refused> {
    let now = (app.clock)();
    let stale = || {
        refused(
            "evidence-nonce",
            "the challenge is none of this authority's, was answered before, or is older than two minutes",
        )
    };
    if !app.challenges.is_open(challenge, now) {
        return Err(stale());
    }
    let nonce = EvidenceNonce::new(challenge).map_err(|_| stale())?;
    // Not verified yet: it only chooses what is expected of the device that it must then turn out to be.
    let document = EvidenceDocument::decode(evidence)
        .map_err(|error| refused("malformed", &error.to_string()))?;
    let policy = app.expectations.of(document.claims().device(), nonce);
    let (verified, client) = app
        .clients
        .attested(evidence, document.chain(), &policy)
        .map_err(|rejection| refused(rejection.code().as_str(), &rejection.to_string()))?;
    let found = match client.serial.parse::<Serial>() {
        Ok(serial) => app.desk.certificate(&serial).await?,
        Err(_) => None,
    };
    let stands = match found {
        Some(_) => app.desk.stands(&client).await?,
        None => app.expectations.believes(&client),
    };
    let device = app.desk.device(&client.device).await?;
    let in_service = device.filter(|device| stands && device.state == DeviceState::Approved);
    let device = in_service.ok_or_else(|| {
        refused(
            "not-in-service",
            "the registry has no such device in service, or not this certificate of it",
        )
    })?;
    if !app.challenges.answer(challenge, now) {
        return Err(stale());
    }
    Ok((verified, client, device))
}

fn answer(verified: &VerifiedEvidence, client: Client, device: Device) -> AttestAnswer {
    let claims = verified.claims();
    let (mut registers, mut key, mut chip) = (BTreeMap::new(), None, None);
    match verified.hardware() {
        AttestedHardware::TpmBoot {
            registers: quoted, ..
        } => {
            let named = |(number, value): &(u8, [u8; 32])| (number.to_string(), hex::encode(value));
            registers.extend(quoted.iter().map(named));
        }
        AttestedHardware::TpmKey { key: vouched, .. } => {
            key = Some(vouched.spki_sha256().to_string());
        }
        AttestedHardware::Atecc608Key {
            serial,
            key: vouched,
            ..
        } => {
            key = Some(vouched.spki_sha256().to_string());
            chip = Some(hex::encode(serial));
        }
        _ => {}
    }
    let runtime = claims.runtime();
    AttestAnswer {
        attested: true,
        device_id: device.id.to_string(),
        serial: client.serial,
        kind: claims.kind().as_str().to_owned(),
        registers,
        key,
        chip,
        program: runtime.name().to_owned(),
        program_version: runtime.version().to_owned(),
        program_sha256: runtime.digest().map(|digest| digest.to_string()),
        configuration_sha256: claims.configuration().map(|digest| digest.to_string()),
        boot: hex::encode(claims.boot().as_bytes()),
        device_type: device.device_type,
        family: device.family,
        firmware_version: device.firmware,
    }
}
