//! Envelopes and statements put together by hand, so that they can be wrong and well signed all the same.

use countersign_keys::SigningKey;

use crate::cbor;
use crate::good::{Device, Good};

/// The content type of a component's signature.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.countersign.statement+cbor";

/// The tag of COSE_Sign.
pub(crate) const COSE_SIGN: u64 = 98;

/// Header labels of COSE.
pub(crate) const ALGORITHM: u64 = 1;
pub(crate) const CONTENT_TYPE_LABEL: u64 = 3;
pub(crate) const X5CHAIN: u64 = 33;

/// The number of ESP256.
pub(crate) const ESP256: i64 = -9;

/// A COSE_Sign with one signer, part by part. The signature covers the headers and the statement as they stand here.
pub(crate) struct Cose {
    pub(crate) tag: Vec<u8>,
    /// The protected header, encoded, without the byte string around it.
    pub(crate) body: Vec<u8>,
    /// The unprotected header, encoded.
    pub(crate) body_unprotected: Vec<u8>,
    pub(crate) statement: Vec<u8>,
    pub(crate) signer: Vec<u8>,
    pub(crate) signer_unprotected: Vec<u8>,
}

impl Cose {
    /// Everything as it should be.
    pub(crate) fn of(device: &Device, statement: Vec<u8>) -> Self {
        Self {
            tag: cbor::head(6, COSE_SIGN),
            body: body_header(cbor::text(CONTENT_TYPE)),
            body_unprotected: cbor::map(&[]),
            statement,
            signer: signer_header(cbor::integer(ESP256), x5chain(&device.chain)),
            signer_unprotected: cbor::map(&[]),
        }
    }

    /// The payload of the signature section, signed with this key.
    pub(crate) fn encode(&self, key: &SigningKey) -> Vec<u8> {
        self.encode_with(&cbor::bytes(&self.signature(key)))
    }

    /// The payload with this item where the signature belongs.
    pub(crate) fn encode_with(&self, signature: &[u8]) -> Vec<u8> {
        self.encode_signers(&cbor::array(&[self.entry(signature)]))
    }

    /// The payload with this item where the signers belong.
    pub(crate) fn encode_signers(&self, signers: &[u8]) -> Vec<u8> {
        let parts = [
            cbor::bytes(&self.body),
            self.body_unprotected.clone(),
            cbor::bytes(&self.statement),
            signers.to_vec(),
        ];
        [self.tag.clone(), cbor::array(&parts)].concat()
    }

    /// The signer with this item for a signature.
    pub(crate) fn entry(&self, signature: &[u8]) -> Vec<u8> {
        cbor::array(&[
            cbor::bytes(&self.signer),
            self.signer_unprotected.clone(),
            signature.to_vec(),
        ])
    }

    /// 64 bytes over the Sig_structure of RFC 9052 §4.4.
    pub(crate) fn signature(&self, key: &SigningKey) -> Vec<u8> {
        let message = cbor::array(&[
            cbor::text("Signature"),
            cbor::bytes(&self.body),
            cbor::bytes(&self.signer),
            cbor::bytes(&[]),
            cbor::bytes(&self.statement),
        ]);
        let signature = key.sign(&message).expect("a key in memory signs");
        signature.as_bytes().to_vec()
    }
}

/// The good file with an envelope in which something was changed before it was signed.
pub(crate) fn changed(good: &Good, change: impl FnOnce(&mut Cose)) -> Vec<u8> {
    let device = good.device();
    let mut cose = Cose::of(&device, crate::good::encode(good.fields(&device)));
    change(&mut cose);
    good.enclose(&cose.encode(&device.key))
}

/// The protected header of the envelope with this item for a content type.
pub(crate) fn body_header(content_type: Vec<u8>) -> Vec<u8> {
    cbor::map(&[(cbor::unsigned(CONTENT_TYPE_LABEL), content_type)])
}

/// The protected header of a signer with these items.
pub(crate) fn signer_header(algorithm: Vec<u8>, chain: Vec<u8>) -> Vec<u8> {
    cbor::map(&[
        (cbor::unsigned(ALGORITHM), algorithm),
        (cbor::unsigned(X5CHAIN), chain),
    ])
}

/// Certificates as a header carries several.
pub(crate) fn x5chain(chain: &[Vec<u8>]) -> Vec<u8> {
    let items: Vec<Vec<u8>> = chain
        .iter()
        .map(|certificate| cbor::bytes(certificate))
        .collect();
    cbor::array(&items)
}

/// The entries of a statement: keys and encoded values.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The entries of the good statement.
pub(crate) fn entries(good: &Good) -> Entries {
    let statement = crate::good::encode(good.fields(&good.device()));
    let mut decoder = minicbor::Decoder::new(&statement);
    let count = decoder.map().expect("a map").expect("of definite length");
    let item = |decoder: &mut minicbor::Decoder<'_>| {
        let start = decoder.position();
        decoder.skip().expect("an item");
        statement[start..decoder.position()].to_vec()
    };
    (0..count)
        .map(|_| (item(&mut decoder), item(&mut decoder)))
        .collect()
}

/// The good file with a statement of these entries, signed by the good device.
pub(crate) fn stating(good: &Good, entries: &Entries) -> Vec<u8> {
    good.sign_statement(&[&good.device()], &cbor::map(entries))
}

/// The good file with another value under one key of its statement, signed by the good device. A key that is not
/// there is added at the end.
pub(crate) fn stating_instead(good: &Good, key: u64, value: Vec<u8>) -> Vec<u8> {
    let mut entries = entries(good);
    let key = cbor::unsigned(key);
    match entries.iter_mut().find(|(other, _)| *other == key) {
        Some((_, old)) => *old = value,
        None => entries.push((key, value)),
    }
    stating(good, &entries)
}
