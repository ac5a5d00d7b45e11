//! What both ways of attesting share: the claims of this machine, and the document that is written.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use countersign_format::{
    AttestationHardware, BootId, DeviceIdentity, Digest, EvidenceClaims, EvidenceDocument,
    EvidenceKind, EvidenceNonce, EvidenceProof, RuntimeClaim, evidence_challenge,
};
use countersign_keys::{Challenge, Evidence, PublicKey};
use countersign_trust_store::{Certificate, CertifiedDevice};

use crate::shared::certificates::read_chain;
use crate::shared::failure::Failure;
use crate::shared::files;
use crate::shared::output::Output;
use crate::verbs::verify::wall_clock;

/// Bytes as hexadecimal digits on a command line.
#[derive(Clone)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl FromStr for Hex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hex::decode(text)
            .map(Self)
            .map_err(|error| format!("write pairs of hexadecimal digits: {error}"))
    }
}

/// A nonce on a command line.
#[derive(Clone)]
pub(crate) struct NonceArgument(pub(crate) EvidenceNonce);

impl FromStr for NonceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Hex(bytes) = text.parse()?;
        EvidenceNonce::new(&bytes)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// What an attestation is made with, whatever it is of.
#[derive(clap::Args)]
pub(super) struct Making {
    /// The asker's fresh random bytes, 8 to 64 of them, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    nonce: NonceArgument,
    /// The attestation key's certificate chain in PEM: its own certificate first, without the root
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// Where the attestation goes
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

/// An attestation about to be made: the certificates, and the device that they name.
pub(super) struct Attestation<'a> {
    making: &'a Making,
    chain: Vec<Vec<u8>>,
    key: PublicKey,
    device: DeviceIdentity,
    hardware: Option<AttestationHardware>,
}

impl Making {
    /// Looks at everything that can be wrong before any device is asked.
    pub(super) fn begin(&self) -> Result<Attestation<'_>, Failure> {
        files::check_output(&self.output, files::forced(self.force))?;
        let chain = read_chain(&self.chain)?;
        let name = self.chain.display();
        let Some(leaf) = chain.first() else {
            return Err(Failure::usage(anyhow!(
                "{name} holds no certificate; give the attestation key's"
            )));
        };
        let read = || -> Result<_, countersign_trust_store::Fault> {
            let leaf = Certificate::parse(leaf)?;
            Ok((leaf.public_key()?, leaf.device()?, leaf.attested_by()?))
        };
        let (key, device, hardware) = read()
            .with_context(|| format!("cannot use the first certificate of {name}"))
            .map_err(Failure::usage)?;
        let device = device.as_ref().map(CertifiedDevice::identity).cloned();
        let Some(device) = device else {
            return Err(Failure::usage(anyhow!(
                "the first certificate of {name} names no device; have one issued with a device id"
            )));
        };
        Ok(Attestation {
            making: self,
            chain,
            key,
            device,
            hardware,
        })
    }
}

impl Attestation<'_> {
    /// What this program says of this machine.
    pub(super) fn claims(&self, kind: EvidenceKind) -> Result<EvidenceClaims, Failure> {
        let mut boot = [0; 16];
        getrandom::fill(&mut boot)
            .context("this machine gives no random numbers")
            .map_err(Failure::usage)?;
        // A program that cannot read its own file says nothing of its digest.
        let program = std::env::current_exe()
            .and_then(std::fs::read)
            .ok()
            .map(|bytes| Digest::of(&bytes));
        let runtime = RuntimeClaim::new("countersign", env!("CARGO_PKG_VERSION"), program)?;
        let nonce = self.making.nonce.0.clone();
        Ok(
            EvidenceClaims::new(kind, nonce, self.device.clone(), BootId::new(boot), runtime)
                .at(wall_clock().as_secs())?,
        )
    }

    /// Refuses evidence of another kind than the certificate says, which would be refused wherever it is judged.
    fn check_hardware(&self, kind: EvidenceKind) -> Result<(), Failure> {
        let needed = kind.hardware();
        if self.hardware != needed {
            let name = |hardware: Option<AttestationHardware>| {
                hardware.map_or("software".to_owned(), |hardware| hardware.to_string())
            };
            return Err(Failure::usage(anyhow!(
                "the first certificate of {} is that of an attestation key in {}, and this would be evidence by {}; have the key \
                 certified with what holds it (`countersign-ca issue --profile attestation`, with --hardware where there is hardware)",
                self.making.chain.display(),
                name(self.hardware),
                name(needed)
            )));
        }
        Ok(())
    }

    /// The certificates, the attestation key's first.
    pub(super) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Refuses a key that the certificates are not for.
    pub(super) fn check_key(&self, key: &PublicKey) -> Result<(), Failure> {
        if *key == self.key {
            return Ok(());
        }
        Err(Failure::usage(anyhow!(
            "the attestation key is {key}, and the certificate in {} is for {}; give the chain of this device's \
             attestation key",
            self.making.chain.display(),
            self.key
        )))
    }

    /// Has hardware vouch for the claims, and writes what comes of it.
    pub(super) fn vouched(
        self,
        claims: EvidenceClaims,
        ask: impl FnOnce(&Challenge) -> Result<Evidence, countersign_keys::Error>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let challenge = Challenge::new(*evidence_challenge(&claims).as_bytes());
        let evidence = ask(&challenge)?;
        self.check_key(evidence.attestation_key())?;
        let proof = evidence.to_proof(&challenge)?;
        self.write(claims, proof, output)
    }

    /// Writes the document.
    pub(super) fn write(
        self,
        claims: EvidenceClaims,
        proof: EvidenceProof,
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.check_hardware(claims.kind())?;
        let path = &self.making.output;
        let document = EvidenceDocument::new(claims, self.chain, proof)?;
        files::write(path, &document.encode(), files::forced(self.making.force))?;
        output.line(&format!(
            "{}: an attestation of {} by {}",
            path.display(),
            document.claims().device(),
            document.claims().kind().as_str()
        ));
        Ok(())
    }
}
