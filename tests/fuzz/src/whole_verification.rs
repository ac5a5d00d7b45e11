//! The whole verdict on a file: from any bytes, from a good file changed by somebody without keys, and from parts that
//! are changed and signed again by the right keys.

use countersign_format::{
    Audience, ComponentName, Digest, Envelope, SignerEntry, SignerId, Statement, StatementFields,
    signature_section, signer_to_be_signed,
};
use countersign_testing::TestPki;
use countersign_trust_store::{
    Certificate, Check, Code, Now, Outcome, Policy, Rejection, TrustState, UnixTime,
    UnverifiedComponent, VerifiedComponent,
};

use crate::cursor::Cursor;
use crate::world::{COMPONENT, NAME, NOW, World, foreign, sign_again, world};
use crate::{bytes, oracle, tally, tree};

/// Takes one input; its first byte says what the rest is.
pub fn check(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 6 {
        0 => any_bytes(input.rest()),
        1 => changed_file(&mut input),
        2 => parts_together_again(&mut input),
        3 | 4 => signed_again(&mut input),
        _ => several_signers(&mut input),
    }
}

/// Any bytes: accepted only if they are one of the good files.
fn any_bytes(file: &[u8]) {
    for choice in [0, 1] {
        let world = world(choice);
        let verdict = judge(world, file, &Judge::default());
        assert_eq!(verdict.is_ok(), file == world.file);
    }
}

/// A good file with bytes changed anywhere.
fn changed_file(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let mut file = world.file.clone();
    bytes::change(&mut file, input);
    let verdict = judge(world, &file, &Judge::default());
    assert_eq!(verdict.is_ok(), file == world.file);
}

/// Good parts, each changed by somebody without keys, framed without a fault: the chain, the statement, the signature.
fn parts_together_again(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let good = UnverifiedComponent::parse(world.file.clone()).expect("a good file");
    let entry = &good.envelope().signers()[0];

    let mut component = COMPONENT.to_vec();
    bytes::change(&mut component, input);
    let mut statement = good.envelope().statement_bytes().to_vec();
    bytes::change(&mut statement, input);
    let donors = world.donors();
    let mut chain: Vec<Vec<u8>> = entry
        .chain()
        .iter()
        .map(|certificate| tree::change(certificate, &donors, input))
        .collect();
    match input.byte() % 8 {
        0 => chain.truncate(1),
        1 => chain.push(world.pki.root().to_vec()),
        2 => chain.reverse(),
        _ => {}
    }
    let mut signature = entry.signature().to_vec();
    bytes::change(&mut signature, input);
    // With the digests set right, so that it is the signature that does not fit.
    if input.byte() & 1 != 0
        && let Ok(decoded) = Statement::decode(&statement)
    {
        let mut fields = decoded.fields().clone();
        fields.component_digest = Digest::of(&component);
        fields.component_size = component.len() as u64;
        fields.signers = vec![SignerId::of(
            entry.algorithm(),
            world.keys[2].public_key().spki_sha256(),
            &chain,
        )];
        if let Ok(made) = Statement::new(fields) {
            statement = made.encode();
        }
    }
    let Ok(signature) = <[u8; 64]>::try_from(signature) else {
        return;
    };
    let Some(file) = SignerEntry::new(entry.algorithm(), chain, signature)
        .ok()
        .and_then(|entry| framed(&component, statement, vec![entry]))
    else {
        return;
    };
    let verdict = judge(world, &file, &Judge::default());
    assert_eq!(verdict.is_ok(), file == world.file);
}

/// The parts changed, and everything signed again by the right keys: what the verdict says beyond signatures.
fn signed_again(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let judge_as = Judge::chosen(input);
    let mut component = COMPONENT.to_vec();
    bytes::change(&mut component, input);
    let chain = changed_chain(world, input);
    let mut fields = StatementFields {
        component_digest: Digest::of(&component),
        component_size: component.len() as u64,
        signers: vec![SignerId::of(
            world.keys[2].public_key().algorithm(),
            world.keys[2].public_key().spki_sha256(),
            &chain,
        )],
        ..world.fields.clone()
    };
    for _ in 0..input.byte() % 4 {
        change_field(&mut fields, input);
    }
    let Ok(statement) = Statement::new(fields) else {
        return;
    };
    let mut statement = statement.encode();
    bytes::change(&mut statement, input);
    let Some(entry) = entry(world, &statement, &chain) else {
        return;
    };
    let Some(mut file) = framed(&component, statement, vec![entry]) else {
        return;
    };
    bytes::change(&mut file, input);
    if let Ok(verified) = judge(world, &file, &judge_as) {
        assert_deserved(world, &file, &verified, &judge_as);
    }
}

/// Several signers: the good one, the same again, one of another host's, in any order, some left out or exchanged after
/// the statement was made.
fn several_signers(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let judge_as = Judge::chosen(input);
    let other = foreign();
    let signers: Vec<&World> = (0..1 + input.byte() % 4)
        .map(|_| input.choose(&[world, other]))
        .collect();
    let chains: Vec<Vec<Vec<u8>>> = signers
        .iter()
        .map(|signer| match input.byte() % 4 {
            0 => signer.pki.chain()[..1].to_vec(),
            1 => changed_chain(signer, input),
            _ => signer.pki.chain().to_vec(),
        })
        .collect();
    let fields = StatementFields {
        signers: signers
            .iter()
            .zip(&chains)
            .map(|(signer, chain)| {
                let key = signer.keys[2].public_key();
                SignerId::of(key.algorithm(), key.spki_sha256(), chain)
            })
            .collect(),
        ..world.fields.clone()
    };
    let Ok(statement) = Statement::new(fields) else {
        return;
    };
    // In the statement's order, unless the input wants another.
    let mut order: Vec<usize> = (0..signers.len()).collect();
    order.sort_by_key(|&index| {
        let key = signers[index].keys[2].public_key();
        SignerId::of(key.algorithm(), key.spki_sha256(), &chains[index])
    });
    if input.byte() & 3 == 0 {
        order.reverse();
    }
    if input.byte() & 3 == 0 {
        order.pop();
    }
    let statement = statement.encode();
    let exchanged = input.byte();
    let Some(entries) = order
        .iter()
        .enumerate()
        .map(|(place, &index)| {
            // A signer that signs the same statement with another chain than the statement binds.
            if exchanged & 7 == 1 && usize::from(exchanged >> 3) % order.len() == place {
                entry(signers[index], &statement, &signers[index].pki.chain()[..1])
            } else {
                entry(signers[index], &statement, &chains[index])
            }
        })
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let Some(file) = framed(COMPONENT, statement, entries) else {
        return;
    };
    if let Ok(verified) = judge(world, &file, &judge_as) {
        assert_deserved(world, &file, &verified, &judge_as);
    }
}

/// The good chain with changes that the authorities signed.
fn changed_chain(world: &World, input: &mut Cursor<'_>) -> Vec<Vec<u8>> {
    let donors = world.donors();
    [(0, 1), (1, 0)]
        .into_iter()
        .map(|(certificate, key)| {
            let good = &world.pki.chain()[certificate];
            let changed = tree::change(good, &donors, input);
            if changed == *good {
                changed
            } else {
                sign_again(&changed, &world.keys[key])
            }
        })
        .collect()
}

fn entry(world: &World, statement: &[u8], chain: &[Vec<u8>]) -> Option<SignerEntry> {
    let key = &world.keys[2];
    let algorithm = key.public_key().algorithm();
    let message = signer_to_be_signed(statement, algorithm, chain);
    let signature = key.sign(&message).expect("a key in memory signs");
    SignerEntry::new(algorithm, chain.to_vec(), *signature.as_bytes()).ok()
}

fn framed(component: &[u8], statement: Vec<u8>, entries: Vec<SignerEntry>) -> Option<Vec<u8>> {
    let envelope = Envelope::new(statement, entries).ok()?;
    let section = signature_section(&envelope.encode()).ok()?;
    Some([component, &section].concat())
}

/// Another value in one field of the statement.
fn change_field(fields: &mut StatementFields, input: &mut Cursor<'_>) {
    match input.byte() % 8 {
        0 => {
            let name = input.choose(&["test:guest", "test:other", "test-2:guest", "other:guest"]);
            fields.name = ComponentName::parse(name).expect("it is a name");
        }
        1 => fields.security_version = input.number() as u64,
        2 => fields.component_size = input.number() as u64,
        3 => fields.component_digest = Digest::of(input.text()),
        4 => {
            fields.audience = Audience {
                devices: input
                    .choose(&[&[][..], &["SN-1"], &["SN-1", "SN-2"]])
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                types: input
                    .choose(&[&[][..], &["x1"], &["x2"]])
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
        }
        5 => fields.grants.args = true,
        6 => fields.issued_at = Some(input.number() as u64),
        _ => {
            let chain = [input.text().to_vec()];
            let first = fields.signers[0];
            let other = SignerId::of(first.algorithm, first.spki_sha256, &chain);
            if input.byte() & 1 == 0 {
                fields.signers[0] = other;
            } else {
                fields.signers.push(SignerId {
                    spki_sha256: Digest::of(b"other"),
                    ..other
                });
            }
        }
    }
}

/// Who judges, when, and with what memory.
struct Judge {
    at: u64,
    has_clock: bool,
    min_signers: u8,
    is_device: bool,
    seen_version: Option<u64>,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            at: NOW,
            has_clock: true,
            min_signers: 1,
            is_device: false,
            seen_version: None,
        }
    }
}

impl Judge {
    fn chosen(input: &mut Cursor<'_>) -> Self {
        let flags = input.byte();
        let away = if flags & 1 == 0 {
            0
        } else {
            input.number() as u64 * 1_000
        };
        Self {
            at: if flags & 2 == 0 {
                NOW + away
            } else {
                NOW - away
            },
            has_clock: flags & 4 == 0,
            min_signers: if flags & 0x18 == 0x18 { 2 } else { 1 },
            is_device: flags & 0x20 != 0,
            seen_version: (flags & 0x40 != 0).then_some(5),
        }
    }
}

/// The verdict. Steps and refusal must agree, and a refusal has a code of the table.
fn judge(world: &World, file: &[u8], judge: &Judge) -> Result<VerifiedComponent, Rejection> {
    let mut policy = Policy::default()
        .with_min_signers(judge.min_signers)
        .expect("1 or 2");
    if judge.is_device {
        policy = policy.with_device("SN-1".parse().expect("an identity"), Some("x1".to_owned()));
    }
    let at = UnixTime::from_secs(judge.at);
    let now = if judge.has_clock {
        Now::at(at)
    } else {
        Now::new(at, None)
    };
    let mut state = TrustState::stateless();
    if let Some(seen) = judge.seen_version {
        state = TrustState::remembering();
        let root = world
            .anchors
            .iter()
            .next()
            .expect("there is a root")
            .spki_sha256();
        state.note_version(root, NAME.parse().expect("a name"), seen);
    }
    let mut steps = Vec::new();
    let mut report = |step| steps.push(step);
    let verdict =
        UnverifiedComponent::parse_explained(file.to_vec(), &mut report).and_then(|file| {
            world
                .anchors
                .verify_explained(file, &policy, &now, &state, &mut report)
        });
    tally::count(&verdict);
    let refusals = steps
        .iter()
        .filter(|step| matches!(step.outcome, Outcome::Refused(_)))
        .count();
    match &verdict {
        Ok(_) => {
            assert_eq!(refusals, 0);
            for check in Check::ALL {
                let passed = |step: &countersign_trust_store::Step| {
                    step.check == *check && step.outcome == Outcome::Passed
                };
                assert!(steps.iter().any(passed), "{check:?} was not asked");
            }
        }
        Err(rejection) => {
            assert_eq!(refusals, 1);
            let last = steps.last().expect("a refusal is a step");
            assert_eq!(last.outcome, Outcome::Refused(Box::new(rejection.clone())));
            assert!(Code::ALL.contains(&rejection.code()));
            assert!(
                rejection.to_string().chars().all(|c| !c.is_control()),
                "{rejection}"
            );
        }
    }
    verdict
}

/// What must be true of a file that was accepted, whoever signed what again.
fn assert_deserved(world: &World, file: &[u8], verified: &VerifiedComponent, judge: &Judge) {
    let component = verified.component().expect("it was read whole");
    let statement = verified.statement();
    assert!(file.starts_with(component));
    assert_eq!(verified.digest(), Digest::of(component));
    assert_eq!(*statement.component_digest(), Digest::of(component));
    assert_eq!(statement.component_size(), component.len() as u64);
    assert!(
        statement.name().as_str().starts_with("test:"),
        "outside the scope"
    );
    let audience = statement.audience();
    let admitted =
        |list: &[String], own: &str| list.is_empty() || list.iter().any(|one| one == own);
    assert!(audience.is_empty() || judge.is_device);
    assert!(admitted(&audience.devices, "SN-1") && admitted(&audience.types, "x1"));
    if judge.seen_version.is_some() {
        let least = if statement.name().as_str() == NAME {
            5
        } else {
            0
        };
        assert!((least..=least + 1_024).contains(&statement.security_version()));
    }
    assert!(verified.signers().len() >= judge.min_signers.into());

    // The file again, by what it is made of: one framing, one encoding, every signature good, every chain bound.
    let section = &file[component.len()..];
    let envelope = UnverifiedComponent::parse(file.to_vec()).expect("it was accepted");
    let envelope = envelope.envelope();
    assert_eq!(
        section,
        signature_section(&envelope.encode()).expect("within the limits")
    );
    let signers: Vec<SignerId> = envelope
        .signers()
        .iter()
        .map(|entry| {
            let leaf = oracle::Fields::of(&entry.chain()[0]);
            oracle::assert_signature(&leaf, entry, envelope.statement_bytes());
            SignerId::of(entry.algorithm(), leaf.key_digest(), entry.chain())
        })
        .collect();
    assert_eq!(signers, statement.signers());
    for signer in verified.signers() {
        let chain = envelope.signers()[signer.index()].chain();
        assert_eq!(signer.chain().leaf().der(), chain[0]);
        assert_trusted(&world.pki, chain, judge);
    }
}

fn assert_trusted(pki: &TestPki, chain: &[Vec<u8>], judge: &Judge) {
    let begins = |der: &[u8]| Certificate::parse(der).map(|certificate| certificate.not_before());
    let latest = chain
        .iter()
        .map(|der| begins(der).expect("it was accepted"))
        .max();
    let at = match latest {
        // Without a clock, that a certificate exists shows that its time has come.
        Some(latest) if !judge.has_clock => judge.at.max(latest.as_secs()),
        _ => judge.at,
    };
    oracle::assert_sound(pki.root(), chain, at);
    let lists: Vec<&[u8]> = pki.crls().iter().map(Vec::as_slice).collect();
    oracle::webpki_accepts(pki.root(), chain, &lists, at)
        .expect("webpki by itself accepts what was accepted");
}
