//! Two guests' data are signed as the same bytes only if they are the same data.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected should panic"
)]

use countersign_format::{
    Algorithm, BootId, ComponentName, DeviceIdentity, Digest, GuestClaims, GuestData, GuestPayload,
    guest_data_to_be_signed,
};

/// How many pairs are tried.
const PAIRS: u32 = 10_000_000;

/// Marsaglia's xorshift: the same pairs in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// A text of few letters, so that two of them run into each other in many ways.
    fn text(&mut self, longest: u64) -> String {
        let length = 1 + self.below(longest);
        (0..length)
            .map(|_| if self.below(2) == 0 { 'a' } else { 'b' })
            .collect()
    }
}

/// What is signed, without what does not vary.
type Parts = (Algorithm, Vec<Vec<u8>>, GuestClaims, GuestPayload);

fn parts(numbers: &mut Numbers) -> Parts {
    let algorithm = match numbers.below(8) {
        0 => Algorithm::Ed25519,
        _ => Algorithm::Esp256,
    };
    let chain = (0..1 + numbers.below(2))
        .map(|_| numbers.text(2).into_bytes())
        .collect();
    let name = format!("{}:{}", numbers.text(2), numbers.text(2));
    let signers = (0..1 + numbers.below(2))
        .map(|_| Digest::from_bytes([numbers.below(2) as u8; 32]))
        .collect();
    let claims = GuestClaims::new(
        DeviceIdentity::parse(&numbers.text(2)).unwrap(),
        ComponentName::parse(&name).unwrap(),
        Digest::from_bytes([numbers.below(2) as u8; 32]),
        signers,
        &numbers.text(2),
        BootId::new([numbers.below(2) as u8; 16]),
        // On both sides of a change of length.
        [0, 23, 24, 255, 256][numbers.below(5) as usize],
    )
    .unwrap();
    let payload = match numbers.below(8) {
        0 => GuestPayload::Digest(Digest::from_bytes([b'a'; 32])),
        1 => GuestPayload::Message(vec![b'a'; 32]),
        _ => GuestPayload::Message(numbers.text(2).into_bytes()),
    };
    (algorithm, chain, claims, payload)
}

/// One with a few parts of the other: two that differ where a boundary could move, and now and then in nothing.
fn crossed(numbers: &mut Numbers, one: &Parts, other: &Parts) -> Parts {
    let mut from = || if numbers.below(6) == 0 { other } else { one };
    let claims = GuestClaims::new(
        from().2.device().clone(),
        from().2.component().clone(),
        from().2.component_digest(),
        from().2.signers().to_vec(),
        from().2.context(),
        from().2.boot(),
        from().2.sequence(),
    )
    .unwrap();
    (from().0, from().1.clone(), claims, from().3.clone())
}

fn signed(parts: &Parts) -> Vec<u8> {
    guest_data_to_be_signed(parts.0, &parts.1, &parts.2, &parts.3)
}

#[test]
fn te25_ten_million_pairs_that_differ_are_signed_differently() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut one = parts(&mut numbers);
    let mut bytes = signed(&one);
    let mut equal = 0;
    for pair in 0..PAIRS {
        let stranger = parts(&mut numbers);
        let other = crossed(&mut numbers, &one, &stranger);
        let other_bytes = signed(&other);
        assert_eq!(
            one == other,
            bytes == other_bytes,
            "pair {pair}: {one:?}, {other:?}"
        );
        equal += u32::from(one == other);
        // The decoder is the proof that nothing is lost: it gives the parts back.
        if pair % 8 == 0 {
            let (algorithm, chain, claims, payload) = other.clone();
            let data = GuestData::new(algorithm, chain, claims, payload, [1; 64]).unwrap();
            let read = GuestData::decode(&data.encode()).unwrap();
            assert_eq!(read, data);
            assert_eq!(read.to_be_signed(), other_bytes);
        }
        (one, bytes) = (other, other_bytes);
    }
    // Neither way of being right was left out.
    assert!((PAIRS / 10..PAIRS / 2).contains(&equal), "{equal}");
}
