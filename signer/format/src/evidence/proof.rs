//! What stands behind the claims: a quote, a certified key, a chip's own message, or a plain signature. Bytes that the
//! trust store judges; only their shape is decided here.

use crate::cbor::{MapWriter, Reader, Writer, length, within};
use crate::{Algorithm, AttestationHardware, FormatError, limits};

/// What vouches for the claims of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// A key signed the claims. Where it lies, nothing shows.
    Software,
    /// A TPM signed the state of the boot with the claims.
    TpmQuote,
    /// A TPM signed the attributes of one of its keys with the claims.
    TpmKey,
    /// An ATECC608 signed the configuration of one of its keys with the claims.
    Atecc608Key,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Software,
        Self::TpmQuote,
        Self::TpmKey,
        Self::Atecc608Key,
    ];

    /// A stable word: `software`, `tpm-quote`, `tpm-key`, `atecc608-key`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::TpmQuote => "tpm-quote",
            Self::TpmKey => "tpm-key",
            Self::Atecc608Key => "atecc608-key",
        }
    }

    /// The hardware that vouches in this way: what the certificate of its attestation key must name.
    #[must_use]
    pub const fn hardware(self) -> Option<AttestationHardware> {
        match self {
            Self::Software => None,
            Self::TpmQuote | Self::TpmKey => Some(AttestationHardware::Tpm),
            Self::Atecc608Key => Some(AttestationHardware::Atecc608),
        }
    }

    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Software => 0,
            Self::TpmQuote => 1,
            Self::TpmKey => 2,
            Self::Atecc608Key => 3,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let error = reader.malformed("a kind of evidence that the format does not have");
        let number = reader.unsigned("kind of evidence")?;
        let known = Self::ALL.iter().find(|kind| kind.number() == number);
        known.copied().ok_or(error)
    }
}

/// What a device's hardware, or a key, made of the claims. Signatures are `r ‖ s`, or Ed25519's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvidenceProof {
    /// A signature on the claims themselves.
    Software(SoftwareProof),
    /// `TPM2_Quote` (TPM 2.0 part 3, §18.4).
    TpmQuote(TpmQuoteProof),
    /// `TPM2_Certify` (TPM 2.0 part 3, §18.2).
    TpmKey(TpmKeyProof),
    /// GenKey's digest of a public key, signed internally.
    Atecc608Key(Atecc608Proof),
}

/// A signature on the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftwareProof {
    /// The algorithm of the key and of the signature.
    pub algorithm: Algorithm,
    /// The signature on [`evidence_to_be_signed`](super::evidence_to_be_signed).
    pub signature: [u8; 64],
}

/// A quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmQuoteProof {
    /// `TPMS_ATTEST` as marshalled (part 2, §10.12.12).
    pub attest: Vec<u8>,
    /// The signature on it.
    pub signature: [u8; 64],
    /// Number and value of each quoted register of the SHA-256 bank, numbers rising.
    pub registers: Vec<(u8, [u8; 32])>,
}

/// A certified key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmKeyProof {
    /// `TPMS_ATTEST` as marshalled (part 2, §10.12.12).
    pub attest: Vec<u8>,
    /// The signature on it.
    pub signature: [u8; 64],
    /// The certified key: `TPMT_PUBLIC` as marshalled (part 2, §12.2.4).
    pub public_area: Vec<u8>,
}

/// The numbers of which an ATECC608 makes the 55 bytes that it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Atecc608Proof {
    /// The chip's serial number.
    pub serial: [u8; 9],
    /// The slot that is attested, 0 to 15.
    pub slot: u8,
    /// Its public key, X ‖ Y.
    pub public: [u8; 64],
    /// SlotConfig of the slot.
    pub slot_config: u16,
    /// KeyConfig of the slot.
    pub key_config: u16,
    /// Whether the slot can still be changed.
    pub slot_unlocked: bool,
    /// What the chip mixed into the challenge.
    pub random: [u8; 32],
    /// The slot of the key that signed, 0 to 15.
    pub attestation_slot: u8,
    /// The signature on the message.
    pub signature: [u8; 64],
}

impl EvidenceProof {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Software(_) => EvidenceKind::Software,
            Self::TpmQuote(_) => EvidenceKind::TpmQuote,
            Self::TpmKey(_) => EvidenceKind::TpmKey,
            Self::Atecc608Key(_) => EvidenceKind::Atecc608Key,
        }
    }

    /// Whether the format can carry it.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let malformed = |what| FormatError::Malformed { what, offset: 0 };
        let structure = |bytes: &[u8]| {
            within(
                "structure of a TPM",
                limits::MAX_TPM_STRUCTURE_BYTES,
                length(bytes.len()),
            )
        };
        match self {
            Self::Software(_) => Ok(()),
            Self::TpmQuote(proof) => {
                structure(&proof.attest)?;
                let numbers = proof.registers.iter().map(|(number, _)| *number);
                let rising = numbers.clone().zip(numbers.clone().skip(1));
                if rising.into_iter().any(|(one, next)| one >= next)
                    || numbers.into_iter().any(|number| !is_register(number))
                    || proof.registers.is_empty()
                {
                    return Err(malformed(
                        "a quote is of 1 to 24 registers, 0 to 23, numbers rising",
                    ));
                }
                Ok(())
            }
            Self::TpmKey(proof) => {
                structure(&proof.attest)?;
                structure(&proof.public_area)
            }
            Self::Atecc608Key(proof) if proof.slot > 15 || proof.attestation_slot > 15 => {
                Err(malformed("a slot is a number from 0 to 15"))
            }
            Self::Atecc608Key(_) => Ok(()),
        }
    }

    /// Writes what only hardware gives. A signature on the claims has its place in the COSE_Sign1 around them.
    pub(super) fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Software(proof) => writer.bytes(&proof.signature),
            Self::TpmQuote(proof) => {
                writer.array(4);
                writer.unsigned(self.kind().number());
                writer.bytes(&proof.attest);
                writer.bytes(&proof.signature);
                let mut registers = MapWriter::default();
                for (number, value) in &proof.registers {
                    registers.entry(u64::from(*number), |writer| writer.bytes(value));
                }
                registers.write_to(writer);
            }
            Self::TpmKey(proof) => {
                writer.array(4);
                writer.unsigned(self.kind().number());
                writer.bytes(&proof.attest);
                writer.bytes(&proof.signature);
                writer.bytes(&proof.public_area);
            }
            Self::Atecc608Key(proof) => {
                writer.array(10);
                writer.unsigned(self.kind().number());
                writer.bytes(&proof.serial);
                writer.unsigned(u64::from(proof.slot));
                writer.bytes(&proof.public);
                writer.unsigned(u64::from(proof.slot_config));
                writer.unsigned(u64::from(proof.key_config));
                writer.boolean(proof.slot_unlocked);
                writer.bytes(&proof.random);
                writer.unsigned(u64::from(proof.attestation_slot));
                writer.bytes(&proof.signature);
            }
        }
    }

    /// Reads what hardware gives.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        const WHAT: &str = "what hardware says is an array of 4 or 10";
        let wrong = reader.malformed(WHAT);
        let count = reader.array(WHAT, 10)?;
        let kind = EvidenceKind::read(reader)?;
        match (kind, count) {
            (EvidenceKind::TpmQuote, 4) => Ok(Self::TpmQuote(TpmQuoteProof {
                attest: structure(reader)?,
                signature: signature(reader)?,
                registers: registers(reader)?,
            })),
            (EvidenceKind::TpmKey, 4) => Ok(Self::TpmKey(TpmKeyProof {
                attest: structure(reader)?,
                signature: signature(reader)?,
                public_area: structure(reader)?,
            })),
            (EvidenceKind::Atecc608Key, 10) => Ok(Self::Atecc608Key(Atecc608Proof {
                serial: reader.array_of("a serial number is a byte string of 9 bytes")?,
                slot: slot(reader)?,
                public: reader.array_of("a public key is a byte string of 64 bytes")?,
                slot_config: number(reader)?,
                key_config: number(reader)?,
                slot_unlocked: reader.boolean("a slot is unlocked or not")?,
                random: reader.array_of("a random number is a byte string of 32 bytes")?,
                attestation_slot: slot(reader)?,
                signature: signature(reader)?,
            })),
            _ => Err(wrong),
        }
    }
}

fn is_register(number: u8) -> bool {
    u64::from(number) < limits::MAX_REGISTERS
}

fn structure(reader: &mut Reader<'_>) -> Result<Vec<u8>, FormatError> {
    reader
        .bytes("structure of a TPM", limits::MAX_TPM_STRUCTURE_BYTES)
        .map(<[u8]>::to_vec)
}

pub(super) fn signature(reader: &mut Reader<'_>) -> Result<[u8; 64], FormatError> {
    reader.array_of("a signature is a byte string of 64 bytes")
}

fn registers(reader: &mut Reader<'_>) -> Result<Vec<(u8, [u8; 32])>, FormatError> {
    let mut registers = Vec::new();
    let mut keys = reader.map("registers are a map", limits::MAX_REGISTERS)?;
    let unknown = reader.malformed("a register has a number from 0 to 23");
    while let Some(key) = keys.next(reader)? {
        let number = u8::try_from(key).ok().filter(|number| is_register(*number));
        let number = number.ok_or_else(|| unknown.clone())?;
        let value = reader.array_of("a register is a byte string of 32 bytes")?;
        registers.push((number, value));
    }
    Ok(registers)
}

fn slot(reader: &mut Reader<'_>) -> Result<u8, FormatError> {
    let error = reader.malformed("a slot is a number from 0 to 15");
    let number = u8::try_from(reader.unsigned("slot")?).ok();
    number.filter(|number| *number < 16).ok_or(error)
}

fn number(reader: &mut Reader<'_>) -> Result<u16, FormatError> {
    let error = reader.malformed("a configuration is a number of 16 bits");
    u16::try_from(reader.unsigned("configuration")?).map_err(|_| error)
}
