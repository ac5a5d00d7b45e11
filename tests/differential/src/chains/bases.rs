//! The PKIs that chains are made from: right in everything, of several shapes.

use countersign_format::Algorithm;
use countersign_testing::{IssuerKey, OpenPki, Role, Sealed, TestPki, TestPkiBuilder};
use countersign_trust_store::UnixTime;

use super::der::{der, signed};
use super::octets::Octets;

/// 2026-11-01T00:00:00Z.
const NOW: u64 = 1_793_491_200;

/// A PKI, apart and signed.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) now: UnixTime,
    pub(super) open: OpenPki,
    pub(super) sealed: Sealed,
}

/// A PKI on its way to becoming a mutated chain.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) now: UnixTime,
    pub(super) open: OpenPki,
    /// The signed parts that are changed once more, as octets: of a certificate, or of a list.
    pub(super) certificate_octets: Option<(usize, Octets)>,
    pub(super) list_octets: Option<(usize, Octets)>,
}

/// Every base.
pub(super) fn all() -> Vec<Base> {
    let plain = || TestPki::builder();
    let ed25519 = || TestPki::builder().algorithm(Algorithm::Ed25519);
    let two = |builder: TestPkiBuilder| builder.extra_intermediates(1);
    let late = |builder: TestPkiBuilder, seconds| builder.now(UnixTime::from_secs(seconds));
    let now = |builder| late(builder, NOW);
    let shapes: [(TestPkiBuilder, &[usize]); 14] = [
        (now(plain()), &[]),
        (now(plain()), &[]),
        (now(ed25519()), &[]),
        (now(two(plain())), &[]),
        (now(two(plain())), &[]),
        (now(two(ed25519())), &[]),
        (now(plain()), &[2]),
        (now(plain()), &[1, 2]),
        (now(two(ed25519())), &[1, 3]),
        (now(plain().no_rev_avail()), &[]),
        (now(plain().revoke(Role::Leaf)), &[]),
        (now(plain().development()), &[]),
        // Every date is after 2050, or the period spans it.
        (late(plain(), 2_556_144_000), &[]),
        (late(two(plain()), 2_524_600_000), &[]),
    ];
    shapes
        .into_iter()
        .zip(1..)
        .map(|((builder, p384), number)| {
            let pki = builder.seed(number).build();
            let mut open = pki.open();
            for authority in p384 {
                let seed =
                    [u8::try_from(number).unwrap() * 16 + u8::try_from(*authority).unwrap(); 32];
                open.give_p384(*authority, &seed);
            }
            let sealed = open.seal();
            Base {
                now: pki.time(),
                open,
                sealed,
            }
        })
        .collect()
}

impl Draft {
    pub(super) fn of(base: &Base) -> Self {
        Self {
            now: base.now,
            open: base.open.clone(),
            certificate_octets: None,
            list_octets: None,
        }
    }

    /// Signs what differs from the base, and takes the rest from there.
    pub(super) fn seal(&self, base: &Base) -> Sealed {
        let mut chain: Vec<Vec<u8>> = Vec::new();
        for (place, certificate) in self.open.certificates.iter().enumerate() {
            let mut message = der(&certificate.parts);
            if let Some((_, change)) = of(&self.certificate_octets, place) {
                message = change.of(&message);
            }
            let outer = certificate.outer_algorithm.as_ref();
            let algorithm = der(outer.unwrap_or(&certificate.parts.signature));
            let before = base.open.certificates.get(place);
            let unchanged = before.is_some_and(|before| {
                is_same_key(&before.signer, &certificate.signer)
                    && outer.is_none()
                    && der(&before.parts) == message
            });
            let made = if unchanged {
                base.sealed
                    .chain
                    .get(place)
                    .unwrap_or(&base.sealed.root)
                    .clone()
            } else {
                signed(&message, &algorithm, &certificate.signer.sign(&message))
            };
            chain.push(made);
        }
        let root = chain.pop().unwrap();
        let mut crls = Vec::new();
        for (place, list) in self.open.lists.iter().enumerate() {
            let mut message = der(&list.parts);
            if let Some((_, change)) = of(&self.list_octets, place) {
                message = change.of(&message);
            }
            let outer = list.outer_algorithm.as_ref();
            let algorithm = der(outer.unwrap_or(&list.parts.signature));
            let unchanged = base.open.lists.iter().position(|before| {
                is_same_key(&before.signer, &list.signer)
                    && outer.is_none()
                    && der(&before.parts) == message
            });
            crls.push(match unchanged {
                Some(before) => base.sealed.crls[before].clone(),
                None => signed(&message, &algorithm, &list.signer.sign(&message)),
            });
        }
        Sealed { root, chain, crls }
    }
}

fn of(octets: &Option<(usize, Octets)>, place: usize) -> Option<&(usize, Octets)> {
    octets.as_ref().filter(|(of, _)| *of == place)
}

fn is_same_key(one: &IssuerKey, other: &IssuerKey) -> bool {
    one.spki() == other.spki()
}
