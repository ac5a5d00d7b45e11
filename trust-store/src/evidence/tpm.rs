//! What a TPM signed: `TPMS_ATTEST` and `TPMT_PUBLIC` (TPM 2.0 part 2, §10.12.12 and §12.2.4), read strictly: only the
//! forms that a quote of the SHA-256 bank and a certified P-256 key have, with nothing left over.

use countersign_format::{Digest, TpmKeyProof, TpmQuoteProof};
use countersign_keys::{Challenge, PublicKey};

use super::{AttestedHardware, bytes::Bytes, invalid};
use crate::Rejection;

/// TPM_GENERATED_VALUE: no structure that a TPM did not make begins so where a restricted key signs it.
const GENERATED: u32 = 0xff54_4347;
/// TPM_ST_ATTEST_QUOTE, TPM_ST_ATTEST_CERTIFY.
const QUOTE: u16 = 0x8018;
const CERTIFY: u16 = 0x8017;

const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ECC_NIST_P256: u16 = 0x0003;

/// TPMA_OBJECT (part 2, §8.3.2).
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// A TPM's sense of time (TPMS_CLOCK_INFO). The counts are obfuscated unless the attestation key is in the endorsement
/// hierarchy; equal counts still mean the same boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmClock {
    milliseconds: u64,
    resets: u32,
    restarts: u32,
    safe: bool,
}

impl TpmClock {
    /// Milliseconds for which the TPM has been powered since it was cleared.
    #[must_use]
    pub const fn milliseconds(&self) -> u64 {
        self.milliseconds
    }

    /// How often it was reset since it was cleared.
    #[must_use]
    pub const fn resets(&self) -> u32 {
        self.resets
    }

    /// How often it resumed since it was reset.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether the milliseconds never went back.
    #[must_use]
    pub const fn is_safe(&self) -> bool {
        self.safe
    }
}

/// What every `TPMS_ATTEST` begins with.
struct Attest<'b> {
    kind: u16,
    qualifying_data: &'b [u8],
    clock: TpmClock,
    firmware: u64,
    rest: Bytes<'b>,
}

impl<'b> Attest<'b> {
    fn read(bytes: &'b [u8]) -> Option<Self> {
        let mut bytes = Bytes::new(bytes);
        if bytes.u32()? != GENERATED {
            return None;
        }
        let kind = bytes.u16()?;
        let _qualified_signer = bytes.sized()?;
        let qualifying_data = bytes.sized()?;
        let clock = TpmClock {
            milliseconds: bytes.u64()?,
            resets: bytes.u32()?,
            restarts: bytes.u32()?,
            // TPMI_YES_NO.
            safe: match bytes.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        };
        let firmware = bytes.u64()?;
        Some(Self {
            kind,
            qualifying_data,
            clock,
            firmware,
            rest: bytes,
        })
    }

    /// As what it was asked for, with our challenge.
    fn expect(bytes: &'b [u8], kind: u16, challenge: &Challenge) -> Result<Self, Rejection> {
        let attest =
            Self::read(bytes).ok_or(invalid("what the TPM signed is no attestation structure"))?;
        if attest.kind != kind {
            return Err(invalid(
                "the TPM signed an attestation of another kind than is stated",
            ));
        }
        if attest.qualifying_data != challenge.as_bytes() {
            return Err(invalid("the TPM was asked with other claims than these"));
        }
        Ok(attest)
    }
}

/// Judges a quote whose signature verified.
pub(super) fn inspect_quote(
    proof: &TpmQuoteProof,
    challenge: &Challenge,
) -> Result<AttestedHardware, Rejection> {
    let attest = Attest::expect(&proof.attest, QUOTE, challenge)?;
    let (selected, digest) =
        read_quote(attest.rest).ok_or(invalid("the quote is not of the SHA-256 bank alone"))?;
    let listed = proof.registers.iter().map(|(number, _)| *number);
    if !selected.into_iter().eq(listed) {
        return Err(invalid("the quote is over other registers than are listed"));
    }
    // Part 4, PCRComputeCurrentDigest: the values in the order of their numbers.
    let values: Vec<u8> = proof
        .registers
        .iter()
        .flat_map(|(_, value)| *value)
        .collect();
    if digest != Digest::of(&values).as_bytes() {
        return Err(invalid("the registers are not those that were quoted"));
    }
    Ok(AttestedHardware::TpmBoot {
        registers: proof.registers.clone(),
        clock: attest.clock,
        firmware: attest.firmware,
    })
}

/// TPMS_QUOTE_INFO with one selection, of the SHA-256 bank: the numbers, rising, and the digest.
fn read_quote(mut bytes: Bytes<'_>) -> Option<(Vec<u8>, &[u8])> {
    if bytes.u32()? != 1 || bytes.u16()? != ALG_SHA256 {
        return None;
    }
    let size = bytes.u8()?;
    let map = bytes.take(usize::from(size))?;
    let digest = bytes.sized()?;
    if !bytes.is_empty() {
        return None;
    }
    let numbers = map
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    let numbers = (0..=u8::MAX)
        .zip(numbers)
        .filter_map(|(number, set)| set.then_some(number));
    Some((numbers.collect(), digest))
}

/// Judges a certified key whose signature verified.
pub(super) fn inspect_key(
    proof: &TpmKeyProof,
    challenge: &Challenge,
) -> Result<AttestedHardware, Rejection> {
    let (area, attest) = read_certified(proof, challenge)?;
    Ok(AttestedHardware::TpmKey {
        key: area.key,
        clock: attest.clock,
        firmware: attest.firmware,
    })
}

/// The key that a TPM certified: it signs, was made in the TPM and stays there.
fn read_certified<'p>(
    proof: &'p TpmKeyProof,
    challenge: &Challenge,
) -> Result<(TpmKeyArea, Attest<'p>), Rejection> {
    let mut attest = Attest::expect(&proof.attest, CERTIFY, challenge)?;
    let name = (|| {
        let name = attest.rest.sized()?;
        let _qualified_name = attest.rest.sized()?;
        attest.rest.is_empty().then_some(name)
    })();
    let name = name.ok_or(invalid("what the TPM certified cannot be read"))?;
    let area = TpmKeyArea::read(&proof.public_area)?;
    if name != area.name() {
        return Err(invalid("the TPM certified another key than the one shown"));
    }
    area.stays_in_its_tpm()?;
    if area.attributes & SIGN == 0 {
        return Err(invalid("the certified key does not sign"));
    }
    Ok((area, attest))
}

/// The public area of a P-256 key in a TPM, as the TPM marshals it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmKeyArea {
    attributes: u32,
    key: PublicKey,
    name: Vec<u8>,
}

impl TpmKeyArea {
    /// Reads `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`Rejection::EvidenceInvalid`] for anything but a P-256 key named by SHA-256 whose point is on the curve.
    pub fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let (attributes, point) = read_public(Bytes::new(bytes)).ok_or(invalid(
            "the public area is not that of a P-256 key named by SHA-256",
        ))?;
        let key = PublicKey::from_p256_point(&point)
            .map_err(|_| invalid("the public area's point is not on P-256"))?;
        // Part 1, §16: the name is the algorithm and the digest of the public area.
        let mut name = ALG_SHA256.to_be_bytes().to_vec();
        name.extend_from_slice(Digest::of(bytes).as_bytes());
        Ok(Self {
            attributes,
            key,
            name,
        })
    }

    /// The public area of a key that a TPM certified in answer to this challenge: it signs, was made in the TPM and stays
    /// there. Whoever calls has verified the signature, and knows whose key made it: see
    /// [`Self::is_attestation_key`].
    ///
    /// # Errors
    /// [`Rejection::EvidenceInvalid`].
    pub fn certified(proof: &TpmKeyProof, challenge: &Challenge) -> Result<Self, Rejection> {
        read_certified(proof, challenge).map(|(area, _)| area)
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key's name, which a credential for it is made for.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether a TPM made the key, and never lets it leave.
    ///
    /// # Errors
    /// [`Rejection::EvidenceInvalid`].
    pub fn stays_in_its_tpm(&self) -> Result<(), Rejection> {
        let has = |bit| self.attributes & bit != 0;
        if !has(FIXED_TPM) || !has(FIXED_PARENT) {
            return Err(invalid("the key can be taken to another TPM"));
        }
        if !has(SENSITIVE_DATA_ORIGIN) {
            return Err(invalid("the key was not made in the TPM"));
        }
        Ok(())
    }

    /// Whether the key may be certified as an attestation key: it stays in its TPM, and signs only what the TPM says.
    ///
    /// # Errors
    /// [`Rejection::EvidenceInvalid`].
    pub fn is_attestation_key(&self) -> Result<(), Rejection> {
        self.stays_in_its_tpm()?;
        // Part 1, §25.1.5: a restricted signing key signs nothing from outside that looks like the TPM's own.
        if self.attributes & RESTRICTED == 0 {
            return Err(invalid("the key signs messages from outside"));
        }
        if self.attributes & SIGN == 0 || self.attributes & DECRYPT != 0 {
            return Err(invalid("the key is not one that only signs"));
        }
        Ok(())
    }
}

/// The attributes and the point `04 ‖ X ‖ Y`.
fn read_public(mut bytes: Bytes<'_>) -> Option<(u32, Vec<u8>)> {
    if bytes.u16()? != ALG_ECC || bytes.u16()? != ALG_SHA256 {
        return None;
    }
    let attributes = bytes.u32()?;
    let _auth_policy = bytes.sized()?;
    // TPMS_ECC_PARMS: a signing key has no symmetric algorithm and no key derivation; a scheme or none.
    if bytes.u16()? != ALG_NULL {
        return None;
    }
    match bytes.u16()? {
        ALG_NULL => {}
        ALG_ECDSA if bytes.u16()? == ALG_SHA256 => {}
        _ => return None,
    }
    if bytes.u16()? != ECC_NIST_P256 || bytes.u16()? != ALG_NULL {
        return None;
    }
    let mut point = vec![0x04];
    for _ in 0..2 {
        let coordinate = bytes.sized()?;
        // Some TPMs leave leading zeros out.
        let missing = 32_usize.checked_sub(coordinate.len())?;
        point.resize(point.len().checked_add(missing)?, 0);
        point.extend_from_slice(coordinate);
    }
    bytes.is_empty().then_some((attributes, point))
}

#[cfg(test)]
mod tests;
