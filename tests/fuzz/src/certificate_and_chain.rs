//! Certificates and chains: the reader, the profiles, path validation, and what a host is given as roots.

use countersign_format::limits;
use countersign_trust_store::{
    AnchorSource, Anchors, Certificate, Code, Now, PathProfile, TrustState, UnixTime,
    decode_sources, encode_sources, pem, profile,
};

use crate::cursor::Cursor;
use crate::world::{NOW, World, foreign, sign_again, world};
use crate::{der, oracle, tally, tree};

/// The kinds of certificate. No two share a purpose, so no certificate is of two kinds.
const END_ENTITIES: [profile::Profile; 5] = [
    profile::COMPONENT_SIGNER,
    profile::TLS,
    profile::GUEST_DATA,
    profile::ATTESTATION,
    profile::IDEVID,
];

/// Takes one input; its first byte says what the rest is.
pub fn check(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 6 {
        0 => certificate(input.rest()),
        1 => roots(input.rest()),
        2 => changed_chain(&mut input),
        3 | 4 => chain_signed_again(&mut input),
        _ => root_signed_again(&mut input),
    }
}

/// Any bytes as a certificate.
fn certificate(bytes: &[u8]) {
    let Ok(certificate) = Certificate::parse(bytes) else {
        return;
    };
    assert_eq!(certificate.der(), bytes);
    assert!(der::parse_one(bytes).is_some(), "lengths in another form");
    assert!(bytes.len() as u64 <= limits::MAX_CERTIFICATE_BYTES);
    let kinds = END_ENTITIES
        .iter()
        .filter(|kind| kind.inspect(&certificate, None).is_ok())
        .count();
    let is_authority = [profile::ROOT, profile::INTERMEDIATE]
        .iter()
        .any(|kind| kind.inspect(&certificate, None).is_ok());
    assert!(kinds + usize::from(is_authority) <= 1, "of two kinds");
    for text in [certificate.subject(), certificate.issuer()] {
        let printable = |c: char| c.is_ascii_graphic() || c == ' ';
        assert!(text.chars().all(printable), "{text:?}");
    }
    let _ = (certificate.serial(), certificate.public_key());
}

/// Any bytes as a host's compiled-in roots and as PEM.
fn roots(bytes: &[u8]) {
    if let Ok(sources) = decode_sources(bytes) {
        let again = encode_sources(&sources).expect("what was decoded encodes");
        assert_eq!(decode_sources(&again).as_ref(), Ok(&sources));
        assert!(again.len() <= bytes.len(), "the shortest form");
        if let Ok(anchors) = Anchors::new(sources) {
            anchors.iter().for_each(|anchor| {
                oracle::Fields::of(anchor.certificate().der());
            });
        }
    }
    let _ = (pem::certificates(bytes), pem::crls(bytes));
}

/// A chain changed by somebody without keys: never accepted, unless nothing was changed.
fn changed_chain(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let donors = world.donors();
    let mut chain: Vec<Vec<u8>> = world
        .pki
        .chain()
        .iter()
        .map(|certificate| tree::change(certificate, &donors, input))
        .collect();
    for _ in 0..input.byte() % 4 {
        rearrange(&mut chain, world, input);
    }
    if verify(&world.anchors, &chain, NOW) {
        assert_eq!(chain, world.pki.chain(), "a changed chain was accepted");
    }
}

/// Takes certificates out, doubles, exchanges and adds them.
fn rearrange(chain: &mut Vec<Vec<u8>>, world: &World, input: &mut Cursor<'_>) {
    let kind = input.byte() % 4;
    let at = input.place(chain.len());
    match kind {
        0 if !chain.is_empty() => drop(chain.remove(at)),
        1 if !chain.is_empty() => chain.insert(at, chain[at].clone()),
        2 => chain.reverse(),
        _ => {
            let other = foreign();
            let more = input.choose(&[
                world.pki.root(),
                world.intermediate(),
                world.leaf(),
                other.pki.root(),
                other.intermediate(),
                other.leaf(),
            ]);
            chain.insert(at, more.to_vec());
        }
    }
}

/// A chain changed by somebody with the right keys: what follows the signatures must hold by itself.
fn chain_signed_again(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let donors = world.donors();
    let [root_key, intermediate_key, _] = &world.keys;
    let chain: Vec<Vec<u8>> = [
        (world.leaf(), intermediate_key),
        (world.intermediate(), root_key),
    ]
    .into_iter()
    .map(|(certificate, key)| {
        let changed = tree::change(certificate, &donors, input);
        if changed == certificate {
            changed
        } else {
            sign_again(&changed, key)
        }
    })
    .collect();
    let at = moment(input);
    if verify(&world.anchors, &chain, at) {
        oracle::assert_sound(world.pki.root(), &chain, at);
        let lists: Vec<&[u8]> = world.pki.crls().iter().map(Vec::as_slice).collect();
        oracle::webpki_accepts(world.pki.root(), &chain, &lists, at)
            .expect("webpki by itself accepts what was accepted");
    }
}

/// A root changed by its own key's holder, and the good chain below it.
fn root_signed_again(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let root = tree::change(world.pki.root(), &world.donors(), input);
    let root = sign_again(&root, &world.keys[0]);
    let source = AnchorSource {
        crls: world.pki.crls().to_vec(),
        ..AnchorSource::new(root.clone())
    };
    let encoded = encode_sources(std::slice::from_ref(&source)).expect("it has no scope");
    assert_eq!(
        decode_sources(&encoded).as_deref(),
        Ok(&[source.clone()][..])
    );
    let Ok(anchors) = Anchors::new(vec![source]) else {
        return;
    };
    let at = moment(input);
    let is_valid = anchors.require_valid_at(UnixTime::from_secs(at)).is_ok();
    if verify(&anchors, world.pki.chain(), at) {
        assert!(is_valid, "a root outside its dates");
        oracle::assert_sound(&root, world.pki.chain(), at);
    }
}

/// The present, or a time up to about two years away from it.
fn moment(input: &mut Cursor<'_>) -> u64 {
    let away = u64::try_from(input.number()).unwrap_or_default() * 1_000;
    if input.byte() & 1 == 0 {
        NOW + away
    } else {
        NOW - away
    }
}

/// Whether a chain is accepted. A refusal has a code of the table and words for it.
fn verify(anchors: &Anchors, chain: &[Vec<u8>], at: u64) -> bool {
    let now = Now::at(UnixTime::from_secs(at));
    let state = TrustState::stateless();
    let verdict = anchors.verify_chain(chain, &PathProfile::COMPONENTS, &now, &state);
    tally::count(&verdict);
    match verdict {
        Ok(verified) => {
            assert_eq!(verified.leaf().der(), chain[0]);
            assert!(verified.valid_until().as_secs() >= at);
            true
        }
        Err(rejection) => {
            assert!(Code::ALL.contains(&rejection.code()));
            assert!(!rejection.to_string().is_empty());
            false
        }
    }
}
