//! Revocation lists: the reader, which list counts, and that no stranger's list takes a revocation back.

use countersign_format::Digest;
use countersign_trust_store::{
    Anchors, Code, Crl, CrlNumber, MAX_SIGNATURE_CHECKS, Now, PathProfile, TrustState, UnixTime,
};

use crate::cursor::Cursor;
use crate::world::{NOW, World, sign_again, world};
use crate::{oracle, tally, tree};

/// Signature checks that the good chain costs: two links, and the intermediate's list. The root's list was verified when
/// the world was made, and stays so.
const CHECKS_NEEDED: usize = 3;

/// Signature checks that a chain may cost: one less than a signer, whose own signature is counted apart.
const CHECKS_ALLOWED: usize = MAX_SIGNATURE_CHECKS as usize - 1;

/// Takes one input; its first byte says what the rest is.
pub fn check(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 6 {
        0 => drop(read(input.rest())),
        1 => changed_list(&mut input, false),
        2 | 3 => changed_list(&mut input, true),
        4 => many_forged(&mut input),
        _ => budget(&mut input),
    }
}

/// Any bytes as a list.
fn read(bytes: &[u8]) -> Option<oracle::List> {
    let list = Crl::parse(bytes).ok()?;
    assert_eq!(list.der(), bytes);
    assert!(list.this_update() <= list.next_update());
    let printable = |c: char| c.is_ascii_graphic() || c == ' ';
    assert!(list.issuer().chars().all(printable), "{}", list.issuer());
    let read = oracle::List::of(bytes);
    assert_eq!(list.number().to_be_bytes(), read.number);
    let updates = [list.this_update(), list.next_update()];
    assert_eq!(
        updates.map(|at| oracle::written(at.as_secs())),
        read.updates
    );
    assert!(read.revoked.iter().all(|serial| list.lists(serial)));
    for choice in [0, 1] {
        let leaf = oracle::Fields::of(world(choice).leaf());
        let is_there = read.revoked.iter().any(|serial| serial == leaf.serial());
        assert_eq!(list.lists(leaf.serial()), is_there);
    }
    // Serial numbers have one form.
    for serial in &read.revoked {
        assert!(serial.len() <= 20 && serial[0] & 0x80 == 0);
        assert!(serial[0] != 0 || serial[1] & 0x80 != 0);
    }
    Some(read)
}

/// A changed list of the intermediate beside the good ones, signed again or not.
fn changed_list(input: &mut Cursor<'_>, signed_again: bool) {
    let world = world(input.byte());
    let flags = input.byte();
    let (names_the_leaf, keeps_first, keeps_second, has_clock) = (
        flags & 1 != 0,
        flags & 2 != 0,
        flags & 4 != 0,
        flags & 8 == 0,
    );
    let good = if names_the_leaf {
        &world.revoking
    } else {
        world.list()
    };
    let mut changed = tree::change(good, &world.donors(), input);
    let is_signed = changed == good || signed_again;
    if changed != good && signed_again {
        changed = sign_again(&changed, &world.keys[1]);
    }
    let seen = u64::from(input.byte() % 4);
    let at = NOW + u64::from(input.byte()) * 10_000;

    let mut state = TrustState::stateless();
    let mut number = [0; 20];
    number[12..].copy_from_slice(&seen.to_be_bytes());
    let issuer = world.keys[1].public_key().spki_sha256();
    state.note_crl_number(issuer, CrlNumber::from_be_bytes(number));
    let is_read = state.add_crl(&changed).is_ok();
    let list = read(&changed);
    assert_eq!(is_read, list.is_some());
    if keeps_first {
        state.add_crl(world.list()).expect("a good list is read");
    }
    if keeps_second {
        state.add_crl(&world.revoking).expect("a good list is read");
    }
    let now = if has_clock {
        Now::at(UnixTime::from_secs(at))
    } else {
        Now::new(UnixTime::from_secs(at), None)
    };
    let Some(believed) = verify(&world.anchors_without_list, world, &now, &state) else {
        return;
    };

    // Accepted. The list that counted is the good one that names nobody, or the changed one with a good signature.
    assert!(believed >= number, "an older list than was seen");
    let list = list.filter(|_| is_signed);
    let mut first = [0; 20];
    first[19] = 1;
    let counted = match &list {
        // Had there been two different ones of this number, neither would have counted.
        _ if keeps_first && believed == first => world.list(),
        Some(list) if list.number == believed => changed.as_slice(),
        _ => panic!("a list of nobody's counted"),
    };
    let counted_list = oracle::List::of(counted);
    let leaf = oracle::Fields::of(world.leaf());
    let is_revoked =
        |list: &oracle::List| list.revoked.iter().any(|serial| serial == leaf.serial());
    assert!(
        !is_revoked(&counted_list),
        "a revoked certificate was accepted"
    );
    if keeps_second {
        let second = oracle::List::of(&world.revoking);
        assert!(believed > second.number, "a newer list revokes it");
    }
    assert!(
        oracle::written(at) <= counted_list.updates[1],
        "a stale list"
    );
    let lists = [world.pki.crls()[0].as_slice(), counted];
    oracle::webpki_accepts(world.pki.root(), world.pki.chain(), &lists, at)
        .expect("webpki by itself accepts what was accepted");
}

/// Many lists that claim a high number and were signed by nobody: they cost some checks each, and then it is over.
fn many_forged(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let names_the_leaf = input.byte() & 1 != 0;
    let mut state = TrustState::stateless();
    let good = if names_the_leaf {
        &world.revoking
    } else {
        world.list()
    };
    state.add_crl(good).expect("a good list is read");
    let mut forged: Vec<Vec<u8>> = Vec::new();
    for _ in 0..input.byte() % 16 {
        let list = tree::change(world.list(), &world.donors(), input);
        // A change may come out as the other genuine list.
        let is_genuine = list == world.list() || list == world.revoking;
        let is_new = !forged.contains(&list) && !is_genuine;
        if is_new && state.add_crl(&list).is_ok() {
            forged.push(list);
        }
    }
    // Only those that claim to be the intermediate's and to be no older are tried at all, but each of those costs one.
    let claims = |list: &&Vec<u8>| {
        let (list, good) = (oracle::List::of(list), oracle::List::of(good));
        list.number >= good.number
    };
    let tried_at_most = forged.iter().filter(claims).count();
    let now = Now::at(UnixTime::from_secs(NOW));
    let accepted = verify(&world.anchors_without_list, world, &now, &state).is_some();
    assert!(
        !(accepted && names_the_leaf),
        "strangers' lists took a revocation back"
    );
    if !names_the_leaf && CHECKS_NEEDED + tried_at_most <= CHECKS_ALLOWED {
        assert!(
            accepted,
            "fewer forged lists than the budget has room for are in the way"
        );
    }
}

/// So many copies of the good list with signatures that are none, before the good one: each costs a check, and when the
/// budget is spent the answer is no.
fn budget(input: &mut Cursor<'_>) {
    let world = world(input.byte());
    let forged = input.place(world.forged.len());
    let mut state = TrustState::stateless();
    for list in &world.forged[..forged] {
        state.add_crl(list).expect("it is well formed");
    }
    state.add_crl(world.list()).expect("a good list is read");
    let now = Now::at(UnixTime::from_secs(NOW));
    let accepted = verify(&world.anchors_without_list, world, &now, &state).is_some();
    assert_eq!(
        accepted,
        CHECKS_NEEDED + forged <= CHECKS_ALLOWED,
        "{forged} forged lists"
    );
}

/// The number of the list that counted for the good chain's leaf, if the chain is accepted.
fn verify(anchors: &Anchors, world: &World, now: &Now, state: &TrustState) -> Option<[u8; 20]> {
    let chain = world.pki.chain();
    let verdict = anchors.verify_chain(chain, &PathProfile::COMPONENTS, now, state);
    tally::count(&verdict);
    match verdict {
        Ok(verified) => {
            let issuer: Digest = world.keys[1].public_key().spki_sha256();
            let counted = verified.revocation().iter().find(|(of, _)| *of == issuer);
            let (_, number) = counted.expect("the intermediate's list was consulted");
            Some(number.to_be_bytes())
        }
        Err(rejection) => {
            assert!(Code::ALL.contains(&rejection.code()));
            assert!(!rejection.to_string().is_empty());
            None
        }
    }
}
