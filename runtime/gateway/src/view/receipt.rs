//! A receipt: what a gateway says of its state to whoever cannot ask it, bound to this device by an attestation.
//!
//! Decides what stands in one, and that none is given without a number of its own, an attestation for the gateway itself, and a
//! record. Where it goes is for who asked; what it is worth, for who reads it.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use countersign_format::{
    ComponentName, Digest, EvidenceNonce, Minimum, Receipt, ReceiptBody, ReceiptBundle,
    ReceiptComponent, ReceiptFields, ReceiptService, ServiceState, receipt_nonce,
};
use countersign_runtime::audit::RECORD_VERSION;
use countersign_runtime::host::EvidenceError;
use countersign_trust_store::Code;
use serde::Serialize;
use serde_json::Value;
use tokio::task::{block_in_place, spawn_blocking};

use super::View;
use crate::admission::{Facts, Refusal};
use crate::refusals;
use crate::service::{Doing, Status};

/// What is answered.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// The receipt, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refusal>,
}

impl View {
    /// Makes a receipt, for this nonce if there is one.
    pub(crate) async fn receipt(self: &Arc<Self>, nonce: Option<&str>) -> Value {
        let answer = match self.make_receipt(nonce).await {
            Ok(answer) => answer,
            Err(refusal) => Answer {
                refused: Some(refusal),
                ..Answer::default()
            },
        };
        serde_json::to_value(Answer {
            version: super::VERSION,
            ..answer
        })
        .unwrap_or_default()
    }

    async fn make_receipt(self: &Arc<Self>, nonce: Option<&str>) -> Result<Answer, Refusal> {
        let of_machine = |error: anyhow::Error| Refusal::from(error);
        let nonce = nonce.map(nonce_of).transpose().map_err(of_machine)?;
        let device = self.host.keys.attesting()?;
        let number = self.count_receipt().await.map_err(of_machine)?;
        // What the checkpoint of the records covers is on the disk then.
        let body = block_in_place(|| self.body(nonce, number)).map_err(of_machine)?;
        let asked = receipt_nonce(&body).map_err(anyhow::Error::from)?;
        let evidence = device.evidence(asked).await.map_err(|error| match error {
            EvidenceError::NoAttestation => anyhow::Error::from(error).into(),
            _ => Refusal::of(Code::KeyHardware, &error),
        })?;
        let receipt = Receipt::new(body, evidence)
            .map_err(anyhow::Error::from)?
            .encode();
        let answer = Answer {
            device: Some(device.identity().to_string()),
            number: Some(number),
            receipt: Some(hex::encode(&receipt)),
            ..Answer::default()
        };
        self.record(number, &receipt).await?;
        Ok(answer)
    }

    async fn count_receipt(self: &Arc<Self>) -> anyhow::Result<u64> {
        let view = Arc::clone(self);
        spawn_blocking(move || {
            let mut number = Err(anyhow!("it was not counted"));
            view.state
                .remember(|memory| number = memory.next_receipt())
                .context("the receipt's number could not be remembered, so none is given")?;
            number
        })
        .await?
    }

    async fn record(&self, number: u64, receipt: &[u8]) -> anyhow::Result<()> {
        // Nothing in it is a stranger's.
        let mut line = serde_json::to_string(&Line {
            version: RECORD_VERSION,
            time: countersign_roots::system_time().to_string(),
            event: "receipt",
            number,
            receipt_sha256: Digest::of(receipt).to_string(),
        })?;
        line.push('\n');
        let records = Arc::clone(&self.host.records);
        spawn_blocking(move || records.append(&line))
            .await?
            .context("its record could not be written, so no receipt is given")
    }

    fn body(&self, nonce: Option<EvidenceNonce>, number: u64) -> anyhow::Result<ReceiptBody> {
        let (memory, now) = (self.state.memory(), self.host.clock.now());
        let foreign = || "what this gateway remembers holds an entry of another form";
        let digest = |text: &str| text.parse::<Digest>().ok().with_context(foreign);
        let name = |text: &str| ComponentName::parse(text).with_context(foreign);
        let versions = memory
            .versions()
            .map(|(root, component, version)| Ok((digest(root)?, name(component)?, version)));
        let minimums = memory.minimums().map(|(component, least)| {
            Ok(Minimum {
                name: name(component)?,
                security_version: least,
            })
        });
        let services = self.overview().services.into_iter().map(service);
        // What is remembered does not run where its folder is damaged, or no configuration takes from it any more.
        let bundle = memory.running_bundle()?;
        let bundle = bundle.filter(|(_, _, index)| self.runs_bundle(*index));
        let fields = ReceiptFields {
            nonce,
            number,
            generation: memory.generation(),
            floor: now.floor().as_secs(),
            clock: now.clock().map(|clock| clock.as_secs()),
            roots: (self.host.runtime.anchors().iter())
                .map(|anchor| anchor.spki_sha256())
                .collect(),
            bundle: bundle.map(|(line, number, index)| ReceiptBundle {
                line: line.to_owned(),
                number,
                index,
            }),
            services: services.collect::<anyhow::Result<_>>()?,
            refusals: refusals::last(),
            lists: memory.list_numbers()?,
            versions: versions.collect::<anyhow::Result<_>>()?,
            minimums: minimums.collect::<anyhow::Result<_>>()?,
            log: self
                .host
                .records
                .head()?
                .map(|head| head.as_str().to_owned()),
        };
        ReceiptBody::new(fields).context("its state does not fit into a receipt")
    }
}

fn nonce_of(text: &str) -> anyhow::Result<EvidenceNonce> {
    let bytes = hex::decode(text).context("a nonce is written in pairs of hexadecimal digits")?;
    Ok(EvidenceNonce::new(&bytes)?)
}

fn service(status: Status) -> anyhow::Result<ReceiptService> {
    let refused = match (&status.doing, status.newer) {
        (Doing::Refused(refusal), _) => Some(match refusal.code {
            Some(code) => format!("{code}: {}", refusal.why),
            None => refusal.why.clone(),
        }),
        (_, newer) => newer,
    };
    Ok(ReceiptService {
        name: status.name,
        state: match status.doing {
            Doing::Running { .. } => ServiceState::Running,
            Doing::Starting | Doing::Waiting { .. } => ServiceState::Waiting,
            Doing::Ended { .. } => ServiceState::Ended,
            Doing::Scheduled { .. } => ServiceState::Scheduled,
            Doing::Refused(_) => ServiceState::Refused,
        },
        healthy: status.proved,
        component: status.facts.map(component).transpose()?,
        refused: refused.map(|why| refusals::reason(&why)),
    })
}

fn component(facts: Facts) -> anyhow::Result<ReceiptComponent> {
    let signers = facts.signers.iter().map(|who| refusals::reason(who));
    Ok(ReceiptComponent {
        name: facts.component.parse()?,
        version: facts.version,
        security_version: facts.security_version,
        digest: facts.component_sha256.parse()?,
        file: facts.file_sha256.parse()?,
        signers: signers.zip(facts.keys).collect(),
    })
}

#[derive(Serialize)]
struct Line {
    version: u32,
    time: String,
    event: &'static str,
    number: u64,
    receipt_sha256: String,
}
