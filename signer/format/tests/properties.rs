//! What must hold for every input: no bytes make a decoder panic, and what it accepts has exactly one spelling.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected should panic"
)]

use countersign_format::{
    Algorithm, Atecc608Proof, Audience, BootId, BundleEnvelope, BundleFields, BundleIndex,
    BundlePart, ComponentClaim, ComponentName, DeviceIdentity, Digest, DirectoryGrant, Document,
    Envelope, EvidenceClaims, EvidenceDocument, EvidenceNonce, EvidenceProof, Grants, GuestLimits,
    KeyGrant, LayoutScanner, Minimum, NamePattern, PartKind, RuntimeClaim, Scope, SignedFile,
    SignerEntry, SignerId, SoftwareProof, Statement, StatementFields, Stdio, TpmKeyProof,
    TpmQuoteProof, capabilities_from_der, capabilities_to_der, evidence_challenge,
    signature_section, text_from_der, text_to_der,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

fn texts(pattern: &'static str) -> impl Strategy<Value = Vec<String>> {
    btree_set(pattern, 0..4).prop_map(|set| set.into_iter().collect())
}

fn grants() -> impl Strategy<Value = Grants> {
    let directories = texts("/[a-z]{1,8}").prop_flat_map(|paths| {
        vec(any::<bool>(), paths.len()).prop_map(move |writable| {
            let directory = |(guest, writable): (&String, bool)| DirectoryGrant {
                guest: guest.clone(),
                writable,
            };
            paths
                .iter()
                .zip(writable)
                .map(directory)
                .collect::<Vec<_>>()
        })
    });
    let keys = texts("[a-z]{1,8}").prop_flat_map(|names| {
        vec(
            (texts("[a-z]{1,8}/v[1-9]"), option::of(any::<u32>())),
            names.len(),
        )
        .prop_map(move |rest| {
            let key =
                |(name, (contexts, per_minute)): (&String, (Vec<String>, Option<u32>))| KeyGrant {
                    name: name.clone(),
                    contexts,
                    per_minute,
                };
            names.iter().zip(rest).map(key).collect::<Vec<_>>()
        })
    });
    let flags = any::<[bool; 6]>();
    let hosts = option::of(texts("[a-z]{1,8}\\.example(:443)?"));
    let sockets = option::of(texts("(tcp|udp):[a-z]{1,8}\\.example:[1-9][0-9]{0,3}"));
    (
        flags,
        texts("[A-Z_]{1,8}"),
        directories,
        hosts,
        sockets,
        keys,
    )
        .prop_map(
            |(
                [args, stdin, stdout, stderr, http_incoming, wall_clock],
                env,
                directories,
                http_outgoing,
                sockets,
                keys,
            )| {
                let stdio = Stdio {
                    stdin,
                    stdout,
                    stderr,
                };
                Grants {
                    args,
                    env,
                    stdio,
                    directories,
                    http_outgoing,
                    http_incoming,
                    sockets,
                    wall_clock,
                    keys,
                }
            },
        )
}

fn guest_limits() -> impl Strategy<Value = GuestLimits> {
    any::<[Option<u64>; 7]>().prop_map(
        |[
            memory_bytes,
            table_elements,
            run,
            cpu,
            handles,
            hostcall_bytes,
            log_bytes,
        ]| {
            GuestLimits {
                memory_bytes,
                table_elements,
                run_milliseconds: run,
                cpu_milliseconds: cpu,
                handles,
                hostcall_bytes,
                log_bytes,
            }
        },
    )
}

fn audience() -> impl Strategy<Value = Audience> {
    (texts("[A-Z0-9]{1,8}"), texts("[a-z0-9]{1,8}"))
        .prop_map(|(devices, types)| Audience { devices, types })
}

fn statement() -> impl Strategy<Value = Statement> {
    let digest = || any::<[u8; 32]>().prop_map(Digest::from_bytes);
    let signers = btree_map(any::<[u8; 32]>(), (any::<bool>(), any::<[u8; 32]>()), 1..=4);
    let documents = btree_set(any::<[u8; 32]>(), 0..4);
    (
        (
            digest(),
            0..=256_u64 << 20,
            "[a-z]{1,9}:[a-z]{1,9}(-[a-z0-9]{1,5})?",
            any::<[u64; 3]>(),
            any::<u64>(),
        ),
        (
            signers,
            audience(),
            grants(),
            guest_limits(),
            documents,
            option::of(0..253_402_300_800_u64),
        ),
    )
        .prop_map(
            |(
                (component_digest, component_size, name, [major, minor, patch], security_version),
                (signers, audience, grants, limits, documents, issued_at),
            )| {
                let signer = |(key, (edwards, chain))| SignerId {
                    algorithm: if edwards {
                        Algorithm::Ed25519
                    } else {
                        Algorithm::Esp256
                    },
                    spki_sha256: Digest::from_bytes(key),
                    chain_sha256: Digest::from_bytes(chain),
                };
                let document = |digest| Document {
                    media_type: "application/spdx+json".to_owned(),
                    digest: Digest::from_bytes(digest),
                };
                Statement::new(StatementFields {
                    component_digest,
                    component_size,
                    name: ComponentName::parse(&name).unwrap(),
                    version: semver::Version::new(major, minor, patch),
                    security_version,
                    signers: signers.into_iter().map(signer).collect(),
                    audience,
                    grants,
                    limits,
                    documents: documents.into_iter().map(document).collect(),
                    issued_at,
                })
                .unwrap()
            },
        )
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let signature = (any::<[u8; 32]>(), any::<[u8; 32]>());
    let entry = (
        any::<bool>(),
        vec(vec(any::<u8>(), 1..300), 1..=3),
        signature,
    )
        .prop_map(|(edwards, chain, (r, s))| {
            let algorithm = if edwards {
                Algorithm::Ed25519
            } else {
                Algorithm::Esp256
            };
            SignerEntry::new(algorithm, chain, [r, s].concat().try_into().unwrap()).unwrap()
        });
    (statement(), vec(entry, 1..=4))
        .prop_map(|(statement, signers)| Envelope::new(statement.encode(), signers).unwrap())
}

fn signature() -> impl Strategy<Value = [u8; 64]> {
    any::<[[u8; 32]; 2]>().prop_map(|halves| halves.concat().try_into().unwrap())
}

fn proof() -> impl Strategy<Value = EvidenceProof> {
    let structure = || vec(any::<u8>(), 0..40);
    let registers = btree_map(0..24_u8, any::<[u8; 32]>(), 1..5);
    prop_oneof![
        (any::<bool>(), signature()).prop_map(|(edwards, signature)| {
            let algorithm = if edwards {
                Algorithm::Ed25519
            } else {
                Algorithm::Esp256
            };
            EvidenceProof::Software(SoftwareProof {
                algorithm,
                signature,
            })
        }),
        (structure(), signature(), registers).prop_map(|(attest, signature, registers)| {
            EvidenceProof::TpmQuote(TpmQuoteProof {
                attest,
                signature,
                registers: registers.into_iter().collect(),
            })
        }),
        (structure(), signature(), structure()).prop_map(|(attest, signature, public_area)| {
            EvidenceProof::TpmKey(TpmKeyProof {
                attest,
                signature,
                public_area,
            })
        }),
        (
            any::<([u8; 9], u16, u16, bool, [u8; 32])>(),
            (0..16_u8, 0..16_u8),
            signature(),
            signature()
        )
            .prop_map(|(chip, (slot, attestation_slot), public, signature)| {
                let (serial, slot_config, key_config, slot_unlocked, random) = chip;
                EvidenceProof::Atecc608Key(Atecc608Proof {
                    serial,
                    slot,
                    public,
                    slot_config,
                    key_config,
                    slot_unlocked,
                    random,
                    attestation_slot,
                    signature,
                })
            }),
    ]
}

/// Everything in claims but their kind, from few letters, so that two of them run into each other in many ways.
fn claims() -> impl Strategy<Value = EvidenceClaims> {
    let digest = || option::of((0..2_u8).prop_map(|byte| Digest::from_bytes([byte; 32])));
    let component = option::of(("[ab]{1,2}:[ab]{1,2}", 0..2_u8, 1..3_usize));
    (
        vec(0..2_u8, 8..10),
        "[ab]{1,2}",
        0..2_u8,
        ("[ab]{1,2}", "[ab]{1,2}", digest()),
        component,
        digest(),
        option::of(0..300_u64),
    )
        .prop_map(
            |(nonce, device, boot, (name, version, program), component, configuration, at)| {
                let mut claims = EvidenceClaims::new(
                    countersign_format::EvidenceKind::TpmQuote,
                    EvidenceNonce::new(&nonce).unwrap(),
                    DeviceIdentity::parse(&device).unwrap(),
                    BootId::new([boot; 16]),
                    RuntimeClaim::new(&name, &version, program).unwrap(),
                );
                if let Some((name, digest, signers)) = component {
                    let digest = Digest::from_bytes([digest; 32]);
                    let name = ComponentName::parse(&name).unwrap();
                    let component = ComponentClaim::new(name, digest, vec![digest; signers]);
                    claims = claims.for_component(component.unwrap());
                }
                if let Some(digest) = configuration {
                    claims = claims.with_configuration(digest);
                }
                match at {
                    Some(seconds) => claims.at(seconds).unwrap(),
                    None => claims,
                }
            },
        )
}

/// The same claims as another kind's.
fn of_kind(claims: &EvidenceClaims, proof: &EvidenceProof) -> EvidenceClaims {
    let mut other = EvidenceClaims::new(
        proof.kind(),
        claims.nonce().clone(),
        claims.device().clone(),
        claims.boot(),
        claims.runtime().clone(),
    );
    if let Some(component) = claims.component() {
        other = other.for_component(component.clone());
    }
    if let Some(digest) = claims.configuration() {
        other = other.with_configuration(digest);
    }
    match claims.issued_at() {
        Some(seconds) => other.at(seconds).unwrap(),
        None => other,
    }
}

fn attestation() -> impl Strategy<Value = EvidenceDocument> {
    (claims(), vec(vec(any::<u8>(), 1..40), 1..=3), proof()).prop_map(|(claims, chain, proof)| {
        EvidenceDocument::new(of_kind(&claims, &proof), chain, proof).unwrap()
    })
}

/// One change to some bytes: what damage and simple attacks look like.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Double(Index),
    Cut(Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<Index>().prop_map(Change::Remove),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<Index>().prop_map(Change::Double),
        any::<Index>().prop_map(Change::Cut),
    ];
    vec(change, 1..4)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Set(at, byte) => *at.get_mut(&mut bytes) = *byte,
            Change::Flip(at, bit) => *at.get_mut(&mut bytes) ^= 1 << bit,
            Change::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Change::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Change::Double(at) => bytes.insert(at.index(bytes.len()), *at.get(&bytes)),
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

fn one_spelling_of_a_statement(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(statement) = Statement::decode(bytes) {
        prop_assert_eq!(statement.encode(), bytes);
    }
    Ok(())
}

fn one_spelling_of_an_envelope(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(envelope) = Envelope::decode(bytes) {
        prop_assert_eq!(envelope.encode(), bytes);
    }
    Ok(())
}

fn one_spelling_of_an_attestation(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(document) = EvidenceDocument::decode(bytes) {
        prop_assert_eq!(document.encode(), bytes);
    }
    Ok(())
}

fn one_spelling_of_an_extension(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(scope) = Scope::from_der(bytes) {
        prop_assert_eq!(scope.to_der().unwrap(), bytes);
    }
    if let Ok(text) = text_from_der(bytes) {
        prop_assert_eq!(text_to_der(&text).unwrap(), bytes);
    }
    if let Ok(capabilities) = capabilities_from_der(bytes) {
        prop_assert_eq!(capabilities_to_der(&capabilities).unwrap(), bytes);
    }
    Ok(())
}

/// A component of a few sections, some of them custom.
fn component() -> impl Strategy<Value = Vec<u8>> {
    vec((0..=12_u8, vec(any::<u8>(), 0..120)), 0..5).prop_map(|sections| {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for (id, mut content) in sections {
            if id == 0 {
                content.insert(0, 0);
            }
            bytes.extend([id, u8::try_from(content.len()).unwrap()]);
            bytes.extend(content);
        }
        bytes
    })
}

fn bundle_index() -> impl Strategy<Value = BundleIndex> {
    let digest = || any::<[u8; 32]>().prop_map(Digest::from_bytes);
    let part = (0..PartKind::ALL.len(), 1..1_000_000_u64, digest());
    let parts = btree_map("[a-z0-9][a-zA-Z0-9._-]{0,9}", part, 0..6);
    let minimums = btree_map("[a-z]{1,9}:[a-z]{1,9}", 1..=u64::MAX, 1..4);
    let signers = btree_map(any::<[u8; 32]>(), (any::<bool>(), any::<[u8; 32]>()), 1..=4);
    let numbers = (1..=u64::MAX, 0..=253_402_300_799_u64);
    (
        "[A-Za-z0-9][A-Za-z0-9._-]{0,9}",
        numbers,
        signers,
        texts("[a-z0-9]{1,8}"),
        parts,
        minimums,
    )
        .prop_map(
            |(line, (number, not_after), signers, types, parts, minimums)| {
                let mut configured = false;
                let parts = parts.into_iter().map(|(name, (kind, size, digest))| {
                    let mut kind = PartKind::ALL[kind];
                    // There is one configuration at most.
                    if kind == PartKind::Configuration && std::mem::replace(&mut configured, true) {
                        kind = PartKind::Document;
                    }
                    BundlePart {
                        kind,
                        name,
                        size,
                        digest,
                    }
                });
                let signers = signers.into_iter().map(|(key, (ed25519, chain))| SignerId {
                    algorithm: if ed25519 {
                        Algorithm::Ed25519
                    } else {
                        Algorithm::Esp256
                    },
                    spki_sha256: Digest::from_bytes(key),
                    chain_sha256: Digest::from_bytes(chain),
                });
                let minimums = minimums
                    .into_iter()
                    .map(|(name, security_version)| Minimum {
                        name: ComponentName::parse(&name).unwrap(),
                        security_version,
                    });
                BundleIndex::new(BundleFields {
                    line,
                    number,
                    not_after,
                    signers: signers.collect(),
                    audience: Audience {
                        devices: Vec::new(),
                        types,
                    },
                    parts: parts.collect(),
                    minimums: minimums.collect(),
                })
                .unwrap()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn statements_round_trip(statement in statement()) {
        prop_assert_eq!(Statement::decode(&statement.encode()), Ok(statement));
    }

    #[test]
    fn envelopes_round_trip(envelope in envelope()) {
        prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    #[test]
    fn indices_of_bundles_round_trip(index in bundle_index()) {
        prop_assert_eq!(BundleIndex::decode(&index.encode()), Ok(index));
    }

    #[test]
    fn ta24_changed_indices_of_bundles_have_one_spelling(index in bundle_index(), changes in changes()) {
        let bytes = changed(index.encode(), &changes);
        if let Ok(index) = BundleIndex::decode(&bytes) {
            prop_assert_eq!(index.encode(), bytes);
        }
    }

    #[test]
    fn envelopes_of_bundles_are_none_of_components(envelope in envelope()) {
        let bytes = envelope.encode();
        prop_assert!(BundleEnvelope::decode(&bytes).is_err());
        let bundle = BundleEnvelope::new(b"index".to_vec(), envelope.signers().to_vec()).unwrap();
        prop_assert_eq!(&BundleEnvelope::decode(&bundle.encode()), &Ok(bundle.clone()));
        prop_assert!(Envelope::decode(&bundle.encode()).is_err());
    }

    #[test]
    fn ta24_changed_statements_have_one_spelling(statement in statement(), changes in changes()) {
        one_spelling_of_a_statement(&changed(statement.encode(), &changes))?;
    }

    #[test]
    fn ta24_changed_envelopes_have_one_spelling(envelope in envelope(), changes in changes()) {
        one_spelling_of_an_envelope(&changed(envelope.encode(), &changes))?;
    }

    #[test]
    fn attestations_round_trip(document in attestation()) {
        prop_assert_eq!(EvidenceDocument::decode(&document.encode()), Ok(document));
    }

    #[test]
    fn ta24_changed_attestations_have_one_spelling(document in attestation(), changes in changes()) {
        one_spelling_of_an_attestation(&changed(document.encode(), &changes))?;
    }

    #[test]
    fn te22_claims_that_differ_are_different_challenges(one in claims(), other in claims()) {
        prop_assert_eq!(one == other, one.encode() == other.encode());
        prop_assert_eq!(one == other, evidence_challenge(&one) == evidence_challenge(&other));
    }

    #[test]
    fn any_bytes_have_one_spelling(bytes in vec(any::<u8>(), 0..200)) {
        one_spelling_of_a_statement(&bytes)?;
        one_spelling_of_an_envelope(&bytes)?;
        one_spelling_of_an_attestation(&bytes)?;
        one_spelling_of_an_extension(&bytes)?;
        let _ = SignedFile::parse(&bytes);
    }

    #[test]
    fn tc21_changed_scopes_have_one_spelling(
        names in btree_set("[a-z]{1,9}:([a-z]{1,9}|\\*)", 1..5),
        audience in audience(),
        changes in changes(),
    ) {
        let patterns = names.iter().map(|name| NamePattern::parse(name).unwrap()).collect();
        let scope = Scope::new(patterns, audience).unwrap();
        let der = scope.to_der().unwrap();
        prop_assert_eq!(Scope::from_der(&der), Ok(scope));
        one_spelling_of_an_extension(&changed(der, &changes))?;
    }

    /// A changed signed file is refused, or what it holds is framed exactly as a signer would frame it.
    #[test]
    fn ta10_changed_files_have_one_framing(
        component in component(),
        payload in vec(any::<u8>(), 1..200),
        changes in changes(),
    ) {
        let mut file = component.clone();
        file.extend(signature_section(&payload).unwrap());
        let signed = SignedFile::parse(&file).unwrap();
        prop_assert_eq!((signed.component(), signed.signature()), (&component[..], &payload[..]));
        let file = changed(file, &changes);
        if let Ok(signed) = SignedFile::parse(&file) {
            let framed = [signed.component(), &signature_section(signed.signature()).unwrap()].concat();
            prop_assert_eq!(framed, file);
        }
    }

    /// The pieces in which a file arrives do not matter.
    #[test]
    fn pieces_do_not_matter(component in component(), payload in vec(any::<u8>(), 0..200), pieces in vec(1..50_usize, 1..20)) {
        let mut file = component;
        file.extend(signature_section(&payload).unwrap());
        let mut whole = LayoutScanner::new();
        whole.feed(&file).unwrap();
        let mut scanner = LayoutScanner::new();
        let mut rest = &file[..];
        for piece in pieces.iter().cycle() {
            let (piece, after) = rest.split_at((*piece).min(rest.len()));
            scanner.feed(piece).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(scanner.finish(), whole.finish());
    }
}
