//! Bundles: one encoding of index and envelope, and of a file what the index names, no byte more or less. And what comes back
//! for one, receipts: one encoding of the body, and a document that is nothing but body and attestation.

use countersign_format::{
    BundleEnvelope, BundleIndex, Receipt, ReceiptBody, bundle_preamble, limits,
};
use countersign_trust_store::{BundleReadError, BundleReader};

use crate::cursor::Cursor;

/// Takes one input: what it is, then its bytes.
pub fn check(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 4 {
        0 => check_index(input.rest()),
        1 => check_envelope(input.rest()),
        2 => check_file(input.rest()),
        _ => check_receipt(input.rest()),
    }
}

fn check_receipt(bytes: &[u8]) {
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert_eq!(receipt.encode(), bytes, "another spelling of the same");
    }
    let Ok(body) = ReceiptBody::decode(bytes) else {
        return;
    };
    assert_eq!(body.encode(), bytes, "another spelling of the same body");
    let fields = body.fields();
    assert!(fields.number > 0);
    assert!(
        fields
            .services
            .is_sorted_by(|one, next| one.name < next.name)
    );
    assert_eq!(ReceiptBody::new(fields.clone()), Ok(body));
}

fn check_index(bytes: &[u8]) {
    let Ok(index) = BundleIndex::decode(bytes) else {
        return;
    };
    assert_eq!(index.encode(), bytes, "another spelling of the same index");
    let fields = index.fields();
    assert!(index.total() <= limits::MAX_BUNDLE_BYTES);
    assert!(!fields.parts.is_empty() || !fields.minimums.is_empty());
    for part in &fields.parts {
        assert!(part.size > 0 && part.size <= part.kind.max_bytes());
        // Joined to a folder, a name stays in it.
        let name = std::path::Path::new(&part.name);
        assert_eq!(name.file_name(), Some(name.as_os_str()));
    }
    assert!(fields.parts.is_sorted_by(|one, next| one < next));
    assert!(fields.minimums.is_sorted_by(|one, next| one < next));
    assert_eq!(BundleIndex::new(fields.clone()), Ok(index));
}

fn check_envelope(bytes: &[u8]) {
    let Ok(envelope) = BundleEnvelope::decode(bytes) else {
        return;
    };
    assert_eq!(envelope.encode(), bytes, "another spelling of the same");
    assert!((1..=4).contains(&envelope.signers().len()));
}

fn check_file(bytes: &[u8]) {
    let Ok(mut reader) = BundleReader::open(bytes) else {
        return;
    };
    let envelope = reader.bundle().envelope().encode();
    let mut again = bundle_preamble(&envelope).expect("it was read").to_vec();
    again.extend(envelope);
    loop {
        let read = reader.next_part(&mut |piece| {
            again.extend_from_slice(piece);
            Ok(())
        });
        match read {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(BundleReadError::Refused(_)) => return,
            Err(BundleReadError::Io(error)) => panic!("memory was not read: {error}"),
        }
    }
    assert_eq!(again, bytes, "a byte that nothing covers");
}
