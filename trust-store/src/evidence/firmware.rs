//! TPM firmware that is known to be broken, as data. One row for each range that its maker has named.
//!
//! Not listed, because no version tells it: TPMs in software and in virtual machines that are built on the reference code
//! (CVE-2023-1017, CVE-2023-1018). Their version names the specification; update them with their packages.

use crate::Rejection;

/// A maker of TPMs: its identifier in the TCG's vendor registry, which a TPM tells as TPM_PT_MANUFACTURER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TpmMaker(pub [u8; 4]);

impl TpmMaker {
    /// Infineon.
    pub const INFINEON: Self = Self(*b"IFX\0");
    /// Intel's firmware TPM (Platform Trust Technology).
    pub const INTEL: Self = Self(*b"INTC");
    /// Nuvoton.
    pub const NUVOTON: Self = Self(*b"NTC\0");
    /// STMicroelectronics.
    pub const ST: Self = Self(*b"STM ");
}

/// A range of versions in which something is broken.
#[derive(Clone, Copy, Debug)]
pub struct BrokenFirmware {
    /// Whose.
    pub maker: TpmMaker,
    /// The first version.
    pub from: u64,
    /// The version that ends the range: the first one without the defect, or just a later one.
    pub before: u64,
    /// What is broken.
    pub defect: &'static str,
}

/// The two numbers TPM_PT_FIRMWARE_VERSION_1 and _2 as one; makers put four numbers of 16 bits into them.
const fn version(a: u64, b: u64, c: u64, d: u64) -> u64 {
    a << 48 | b << 32 | c << 16 | d
}

const fn row(maker: TpmMaker, from: u64, before: u64, defect: &'static str) -> BrokenFirmware {
    BrokenFirmware {
        maker,
        from,
        before,
        defect,
    }
}

/// One version of two numbers, whatever follows.
const fn st(major: u64, minor: u64) -> BrokenFirmware {
    let from = version(major, minor, 0, 0);
    row(
        TpmMaker::ST,
        from,
        version(major, minor.wrapping_add(1), 0, 0),
        TPM_FAIL_ST,
    )
}

const fn infineon(from: (u64, u64), before: (u64, u64)) -> BrokenFirmware {
    row(
        TpmMaker::INFINEON,
        version(from.0, from.1, 0, 0),
        version(before.0, before.1, 0, 0),
        ROCA,
    )
}

const fn intel(from: (u64, u64), before: (u64, u64, u64)) -> BrokenFirmware {
    row(
        TpmMaker::INTEL,
        version(from.0, from.1, 0, 0),
        version(before.0, before.1, before.2, 0),
        TPM_FAIL_INTEL,
    )
}

const fn nuvoton(a: u64, b: u64, c: u64, d: u64) -> BrokenFirmware {
    let from = version(a, b, c, d);
    row(TpmMaker::NUVOTON, from, from.wrapping_add(1), OUT_OF_BOUNDS)
}

const ROCA: &str = "RSA keys that can be computed from their public half (CVE-2017-15361)";
const TPM_FAIL_INTEL: &str = "ECDSA keys that leak through timing (CVE-2019-11090)";
const TPM_FAIL_ST: &str = "ECDSA keys that leak through timing (CVE-2019-16863)";
const OUT_OF_BOUNDS: &str = "writing beyond the end of a buffer (CVE-2023-1017)";

/// The rows, from the makers' advisories.
pub const BROKEN: &[BrokenFirmware] = &[
    infineon((4, 0), (4, 34)),
    infineon((4, 40), (4, 43)),
    infineon((5, 0), (5, 62)),
    infineon((6, 0), (6, 43)),
    infineon((7, 0), (7, 62)),
    infineon((133, 0), (133, 33)),
    intel((3, 0), (3, 1, 70)),
    intel((4, 0), (4, 0, 20)),
    intel((11, 0), (11, 8, 70)),
    intel((11, 10), (11, 12, 70)),
    intel((11, 20), (11, 22, 70)),
    intel((12, 0), (12, 0, 45)),
    intel((14, 0), (14, 0, 10)),
    nuvoton(1, 3, 0, 1),
    nuvoton(1, 3, 1, 0),
    nuvoton(1, 3, 2, 8),
    st(71, 0),
    st(71, 4),
    st(71, 12),
    st(73, 0),
    st(73, 4),
    st(73, 5),
    st(73, 8),
    st(73, 9),
    st(74, 0),
    st(74, 4),
    st(74, 5),
    st(74, 8),
    st(74, 9),
    st(74, 16),
];

/// Decides whether a TPM of this maker with this firmware may be provisioned or believed.
///
/// # Errors
/// [`Rejection::EvidencePolicy`] with the defect, for firmware in a row of `broken`.
pub fn inspect(maker: TpmMaker, firmware: u64, broken: &[BrokenFirmware]) -> Result<(), Rejection> {
    let found = broken
        .iter()
        .find(|row| row.maker == maker && row.from <= firmware && firmware < row.before);
    match found {
        None => Ok(()),
        Some(row) => Err(Rejection::EvidencePolicy {
            reason: format!(
                "the TPM's firmware {} has a known defect: {}",
                display(firmware),
                row.defect
            ),
        }),
    }
}

/// The version as makers write it.
#[must_use]
pub fn display(firmware: u64) -> String {
    let part = |shift: u32| firmware.checked_shr(shift).unwrap_or(0) & 0xffff;
    format!("{}.{}.{}.{}", part(48), part(32), part(16), part(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tf15_known_broken_firmware_is_refused_and_its_repair_is_not() {
        for (maker, broken, repaired) in [
            (
                TpmMaker::INFINEON,
                version(7, 61, 2785, 0),
                version(7, 62, 3126, 2),
            ),
            (
                TpmMaker::INFINEON,
                version(5, 51, 0, 0),
                version(5, 62, 0, 0),
            ),
            (
                TpmMaker::ST,
                version(73, 8, 17568, 4452),
                version(73, 64, 17568, 6659),
            ),
            (TpmMaker::ST, version(74, 16, 0, 0), version(74, 64, 0, 0)),
            (
                TpmMaker::INTEL,
                version(11, 8, 50, 3399),
                version(11, 8, 70, 0),
            ),
            (
                TpmMaker::INTEL,
                version(12, 0, 35, 1),
                version(12, 0, 45, 0),
            ),
            (TpmMaker::NUVOTON, version(1, 3, 2, 8), version(1, 3, 2, 20)),
        ] {
            let refused = inspect(maker, broken, BROKEN).unwrap_err();
            assert_eq!(refused.code(), crate::Code::EvidencePolicy);
            assert!(refused.to_string().contains("CVE-"), "{refused}");
            assert_eq!(inspect(maker, repaired, BROKEN), Ok(()));
        }
        // Another maker's numbers mean something else.
        assert_eq!(
            inspect(TpmMaker::NUVOTON, version(7, 61, 0, 0), BROKEN),
            Ok(())
        );
        assert_eq!(
            inspect(TpmMaker(*b"IBM\0"), 0x2019_1023_0016_3636, BROKEN),
            Ok(())
        );
    }

    #[test]
    fn tf15_every_row_is_a_range_that_is_not_empty() {
        for row in BROKEN {
            assert!(
                row.from < row.before && row.defect.contains("CVE-"),
                "{row:?}"
            );
        }
    }
}
