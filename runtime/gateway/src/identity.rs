//! Who this device is, for components and bundles that are meant for certain devices.
//!
//! Decides that it is who one of its keys' certificates says: if these lead to a root that is compiled in, and the key is shown to
//! be here. What was shown once stands when only the certificates' dates, or those of their lists, are over: expiry must not stop
//! a plant. A list that names one of them takes it back.

use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use countersign_format::{DeviceIdentity, Digest, DigestWriter};
use countersign_trust_store::{
    Anchors, CertifiedDevice, Code, Crl, Link, Now, PathProfile, Policy, Rejection, TrustState,
    VerifiedChain,
};
use serde::{Deserialize, Serialize};

use crate::config::Purpose;
use crate::say::say;

/// A key that was shown to be here, and the certificates in its name.
#[derive(Clone, Debug)]
pub(crate) struct Possessed {
    pub(crate) name: String,
    pub(crate) purpose: Purpose,
    pub(crate) chain: Vec<Vec<u8>>,
}

/// An identity that was proved, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proved {
    device: String,
    device_type: Option<String>,
    /// SHA-256 of the certificates.
    chain: String,
    /// The certificates, as later lists name them.
    links: Vec<String>,
}

impl Proved {
    fn by(chain: &VerifiedChain, digest: Digest) -> Option<Self> {
        let device = chain.device().map(CertifiedDevice::identity)?;
        Some(Self {
            device: device.to_string(),
            device_type: chain.device_type().map(str::to_owned),
            chain: digest.to_string(),
            links: chain.links().iter().map(ToString::to_string).collect(),
        })
    }

    /// Whether these lists name one of its certificates.
    pub(crate) fn is_revoked(&self, lists: &[Crl]) -> bool {
        let mut statuses = self.links().filter_map(|link| link.status(lists));
        statuses.any(|status| status.revoked)
    }

    /// Its certificates.
    pub(crate) fn links(&self) -> impl Iterator<Item = Link> {
        // The memory is sealed: all of them were written by this program.
        self.links.iter().filter_map(|link| link.parse().ok())
    }

    fn is_of(&self, chain: &[Vec<u8>]) -> bool {
        self.chain == digest(chain).to_string()
    }
}

/// Who this device is, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Identity(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    proved: Option<Proved>,
    /// What was said of it last, so that it is said once.
    said: String,
}

impl Identity {
    /// What is remembered, for whoever judges without the keys: if it is one of these certificates', and not revoked.
    pub(crate) fn remembered(
        proved: Option<&Proved>,
        chains: &[Vec<Vec<u8>>],
        lists: &[Crl],
    ) -> Self {
        let stands = proved.filter(|proved| {
            chains.iter().any(|chain| proved.is_of(chain)) && !proved.is_revoked(lists)
        });
        Self(Mutex::new(Known {
            proved: stands.cloned(),
            said: String::new(),
        }))
    }

    /// Whether it is known which device this is.
    pub(crate) fn is_proved(&self) -> bool {
        self.lock().proved.is_some()
    }

    /// Finds out who it is by these keys, given what was proved before. What is to be remembered.
    pub(crate) fn prove(
        &self,
        keys: &[Possessed],
        before: Option<&Proved>,
        anchors: &Anchors,
        now: &Now,
        (state, lists): (&TrustState, &[Crl]),
    ) -> Option<Proved> {
        let mut proved = None;
        let mut reasons = Vec::new();
        for key in keys {
            match judge(key, before, anchors, now, (state, lists)) {
                Ok(identity) => {
                    proved = Some(identity);
                    break;
                }
                Err(reason) => reasons.push(format!("the key {}: {reason}", key.name)),
            }
        }
        let what = match &proved {
            Some(identity) => format!("this device is {}", identity.device),
            None if reasons.is_empty() => String::new(),
            None => format!(
                "which device this is is not proved, so nothing is taken that is meant for certain devices: {}",
                reasons.join("; ")
            ),
        };
        let mut known = self.lock();
        if known.said != what && !what.is_empty() {
            say("", &what);
        }
        *known = Known {
            proved: proved.clone(),
            said: what,
        };
        proved
    }

    /// A policy, for this device.
    ///
    /// # Errors
    /// If what was remembered is no identity.
    pub(crate) fn policy(&self, policy: &Policy) -> anyhow::Result<Policy> {
        let policy = policy.clone();
        Ok(match &self.lock().proved {
            Some(proved) => {
                let device = DeviceIdentity::parse(&proved.device)
                    .context("what this gateway remembers of its device is of another form")?;
                policy.with_device(device, proved.device_type.clone())
            }
            None => policy,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // It is exchanged whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn judge(
    key: &Possessed,
    before: Option<&Proved>,
    anchors: &Anchors,
    now: &Now,
    (state, lists): (&TrustState, &[Crl]),
) -> Result<Proved, Rejection> {
    let profile = match key.purpose {
        Purpose::Attestation => &PathProfile::ATTESTATION,
        // Those of TLS are not lent, and not asked.
        Purpose::GuestData | Purpose::Tls => &PathProfile::GUEST_DATA,
    };
    let rejection = match anchors.verify_chain(&key.chain, profile, now, state) {
        Ok(chain) => match Proved::by(&chain, digest(&key.chain)) {
            Some(proved) => return Ok(proved),
            // A key that is lent has a certificate with a device.
            None => Rejection::NoRoot,
        },
        Err(rejection) => rejection,
    };
    let of_dates = [Code::CrlStale, Code::Expired, Code::NotYetValid];
    match before {
        Some(before)
            if of_dates.contains(&rejection.code())
                && before.is_of(&key.chain)
                && !before.is_revoked(lists) =>
        {
            Ok(before.clone())
        }
        _ => Err(rejection),
    }
}

/// Which certificates these are.
pub(crate) fn digest(chain: &[Vec<u8>]) -> Digest {
    let mut writer = DigestWriter::new();
    for certificate in chain {
        // With its length, so that none begins in another.
        let length = u64::try_from(certificate.len()).unwrap_or(u64::MAX);
        writer.update(&length.to_be_bytes());
        writer.update(certificate);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_testing::{Profile, TestPki};

    use super::*;

    struct Bench {
        pki: TestPki,
        lists: Vec<Crl>,
        state: TrustState,
    }

    impl Bench {
        fn new(pki: &TestPki, lists: &[Vec<u8>]) -> Self {
            let pki = pki.clone();
            let parse = |list: &Vec<u8>| Crl::parse(list).expect("a list");
            let lists: Vec<_> = pki.crls().iter().chain(lists).map(parse).collect();
            let mut state = TrustState::default();
            for list in &lists {
                state.add_parsed_crl(list.clone());
            }
            Self { pki, lists, state }
        }

        fn prove(&self, before: Option<&Proved>, now: &Now) -> Option<Proved> {
            let key = Possessed {
                name: "telemetry".to_owned(),
                purpose: Purpose::GuestData,
                chain: self.pki.chain().to_vec(),
            };
            let identity = Identity::default();
            identity.prove(
                &[key],
                before,
                &self.pki.anchors(),
                now,
                (&self.state, self.lists.as_slice()),
            )
        }
    }

    #[test]
    fn ta34_td14_what_was_proved_outlives_its_dates_and_no_list() {
        let pki = TestPki::builder().profile(Profile::GuestData).build();
        let bench = Bench::new(&pki, &[]);
        let now = bench.pki.now();
        let proved = bench.prove(None, &now).expect("it is this device");
        assert_eq!(proved.device, "test-device");
        // Ten years later the certificates have ended.
        let later = bench
            .pki
            .time()
            .saturating_add(Duration::from_secs(315_360_000));
        let later = Now::at(later);
        assert_eq!(bench.prove(None, &later), None);
        assert_eq!(bench.prove(Some(&proved), &later), Some(proved.clone()));
        // Of other certificates nothing was proved.
        let other = Proved {
            chain: Digest::of(b"other").to_string(),
            ..proved.clone()
        };
        assert_eq!(bench.prove(Some(&other), &later), None);
        // One that was taken out of service is not it any more, then and now.
        let revoked = Bench::new(&pki, &[pki.crl_against_device(1_000)]);
        assert_eq!(revoked.prove(Some(&proved), &later), None);
        assert_eq!(revoked.prove(Some(&proved), &now), None);
        assert!(proved.is_revoked(&revoked.lists) && !proved.is_revoked(&bench.lists));
        // For whoever judges without the keys, the same.
        let chains = [bench.pki.chain().to_vec()];
        let remembered = |chains: &[_], lists: &[Crl]| {
            let identity = Identity::remembered(Some(&proved), chains, lists);
            identity.lock().proved.is_some()
        };
        assert!(remembered(&chains, &bench.lists));
        assert!(!remembered(&[], &bench.lists));
        assert!(!remembered(&chains, &revoked.lists));
    }
}
