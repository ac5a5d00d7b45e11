//! What an accepted chain or list must be by a reading of its own: a DER reader that shares nothing with the verifier,
//! and webpki by itself with signatures by other implementations than the verifier's.

use std::time::Duration;

use countersign_format::{Algorithm, Digest, SignerEntry, signer_to_be_signed};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    UnixTime, alg_id,
};
use ring::signature::UnparsedPublicKey;
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder,
};

use crate::der::{Node, parse_one};

/// id-kp-codeSigning.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// The extensions that may be critical in a certificate below the root, as the last octet under 2.5.29: key usage,
/// subjectAltName, basicConstraints, extKeyUsage. Our own and others never are.
const MAY_BE_CRITICAL: &[u8] = &[15, 17, 19, 37];

/// Ed25519 and P-384 by ring, P-256 by ring and by the crate of that name: the verifier has each from one other, or its reading from
/// one of the two and its arithmetic from the other.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ED25519,
    webpki::ring::ECDSA_P384_SHA384,
    &EcdsaP256,
];

/// ECDSA on P-256 with SHA-256, its signatures in DER.
#[derive(Debug)]
struct EcdsaP256;

impl SignatureVerificationAlgorithm for EcdsaP256 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        webpki::ring::ECDSA_P256_SHA256.verify_signature(public_key, message, signature)?;
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

/// Whether webpki by itself, with these algorithms and with the status of every certificate demanded, accepts a chain.
pub fn webpki_accepts(
    root: &[u8],
    chain: &[Vec<u8>],
    lists: &[&[u8]],
    at: u64,
) -> Result<(), webpki::Error> {
    let root = CertificateDer::from(root);
    let anchors = [webpki::anchor_from_trusted_cert(&root)?];
    let chain: Vec<_> = chain
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let (leaf, intermediates) = chain.split_first().expect("a chain has a certificate");
    let lists = lists
        .iter()
        .map(|der| OwnedCertRevocationList::from_der(der).map(CertRevocationList::from))
        .collect::<Result<Vec<_>, _>>()?;
    let lists: Vec<_> = lists.iter().collect();
    let revocation = RevocationOptionsBuilder::new(&lists).expect("there is a list");
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            ALGORITHMS,
            &anchors,
            intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(at)),
            KeyUsage::required_if_present(CODE_SIGNING),
            Some(revocation.build()),
            None,
        )
        .map(drop)
}

/// Asserts what must be true of a chain that was accepted at a time, whoever signed what again.
pub fn assert_sound(root: &[u8], chain: &[Vec<u8>], at: u64) {
    let certificates: Vec<Fields> = chain.iter().map(|der| Fields::of(der)).collect();
    let root = Fields::of(root);
    let issuers = certificates.iter().skip(1).chain([&root]);
    for (depth, (certificate, issuer)) in certificates.iter().zip(issuers).enumerate() {
        certificate.assert_issued_by(issuer, at);
        if depth == 0 {
            certificate.assert_signer();
        } else {
            certificate.assert_authority(depth);
        }
    }
    root.assert_valid_at(at);
    root.assert_authority(chain.len());
}

/// Asserts by these implementations that a signature of an envelope is the leaf's, over the statement and the whole chain.
pub fn assert_signature(leaf: &Fields, entry: &SignerEntry, statement: &[u8]) {
    let message = signer_to_be_signed(statement, entry.algorithm(), entry.chain());
    let key = parse_one(&leaf.key).expect("the key is DER");
    // A BIT STRING of whole octets.
    let key = key.inside()[1].content();
    let (key, signature) = (&key[1..], entry.signature());
    match entry.algorithm() {
        Algorithm::Ed25519 => UnparsedPublicKey::new(&ring::signature::ED25519, key)
            .verify(&message, signature)
            .expect("ring accepts the signature"),
        _ => {
            UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, key)
                .verify(&message, signature)
                .expect("ring accepts the signature");
            VerifyingKey::from_sec1_bytes(key)
                .expect("a point")
                .verify(
                    &message,
                    &Signature::from_slice(signature).expect("r and s"),
                )
                .expect("p256 accepts the signature");
        }
    }
}

/// A certificate's fields, as they stand.
pub struct Fields {
    version: Vec<u8>,
    serial: Vec<u8>,
    algorithms: [Vec<u8>; 2],
    issuer: Vec<u8>,
    subject: Vec<u8>,
    times: [String; 2],
    key: Vec<u8>,
    extensions: Vec<Extension>,
}

struct Extension {
    id: Vec<u8>,
    is_critical: bool,
    value: Vec<u8>,
}

impl Fields {
    /// The fields of an accepted certificate. Panics where this reader and the verifier differ.
    pub fn of(certificate: &[u8]) -> Self {
        let whole = parse_one(certificate).expect("what was accepted is DER");
        assert_eq!(whole.encode(), certificate, "and has one encoding");
        let [signed, outer, signature] = whole.inside() else {
            panic!("a certificate has three parts")
        };
        assert_eq!(signature.tag, 0x03);
        let [
            version,
            serial,
            inner,
            issuer,
            validity,
            subject,
            key,
            extensions @ ..,
        ] = signed.inside()
        else {
            panic!("the signed part has seven fields and extensions")
        };
        // One that signed beside those who are trusted may have none; what is trusted is asked for what it must say.
        let extensions = match extensions {
            [] => Vec::new(),
            [all] if all.tag == 0xa3 => {
                all.inside()[0].inside().iter().map(Extension::of).collect()
            }
            _ => panic!("behind the key there are extensions alone: no unique identifiers"),
        };
        let [from, until] = validity.inside() else {
            panic!("the validity has two times")
        };
        assert_eq!((version.tag, serial.tag), (0xa0, 0x02));
        Self {
            version: version.content(),
            serial: serial.content(),
            algorithms: [inner.encode(), outer.encode()],
            issuer: issuer.encode(),
            subject: subject.encode(),
            times: [from, until].map(time),
            key: key.encode(),
            extensions,
        }
    }

    /// The serial number's octets.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// SHA-256 of the key with its algorithm.
    pub fn key_digest(&self) -> Digest {
        Digest::of(&self.key)
    }

    fn value(&self, last: u8) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|extension| extension.id == [0x55, 0x1d, last])
            .map(|extension| extension.value.as_slice())
    }

    /// Bits of keyUsage, the first one highest.
    fn usage(&self) -> u8 {
        let usage = parse_one(self.value(15).expect("keyUsage is there")).expect("it is DER");
        usage.content()[1]
    }

    fn assert_valid_at(&self, at: u64) {
        let at = written(at);
        assert!(
            self.times[0] <= at && at <= self.times[1],
            "{:?}",
            self.times
        );
    }

    fn assert_issued_by(&self, issuer: &Self, at: u64) {
        assert_eq!(self.version, [0x02, 0x01, 0x02], "version 3");
        assert!(
            self.serial.len() <= 20 && self.serial[0] & 0x80 == 0,
            "serial"
        );
        assert!(self.serial.iter().any(|octet| *octet != 0), "serial");
        assert_eq!(self.algorithms[0], self.algorithms[1]);
        assert_eq!(self.issuer, issuer.subject);
        assert_ne!(self.issuer, self.subject);
        assert_ne!(self.key, issuer.key);
        self.assert_valid_at(at);
        let authority = self.value(35).and_then(parse_one);
        let authority = authority.expect("an authority key identifier");
        let own = issuer.value(14).and_then(parse_one);
        let [identifier] = authority.inside() else {
            panic!("the key identifier alone")
        };
        assert_eq!(identifier.tag, 0x80);
        assert_eq!(Some(identifier.content()), own.map(|own| own.content()));

        for (index, extension) in self.extensions.iter().enumerate() {
            let same = |other: &Extension| other.id == extension.id;
            assert!(!self.extensions[..index].iter().any(same), "twice");
            let may_be_critical = matches!(extension.id.as_slice(),
                [0x55, 0x1d, last] if MAY_BE_CRITICAL.contains(last));
            assert!(
                !extension.is_critical || may_be_critical,
                "{:02x?}",
                extension.id
            );
            // Constraints on names and policies are not processed, so they are not there.
            assert!(!matches!(
                extension.id.as_slice(),
                [0x55, 0x1d, 30 | 33 | 36 | 54]
            ));
        }
    }

    fn assert_signer(&self) {
        let usage = [&[0x30, 0x0a, 0x06, 0x08], CODE_SIGNING].concat();
        assert_eq!(self.value(37), Some(usage.as_slice()), "codeSigning alone");
        // digitalSignature, nonRepudiation if wanted, nothing else.
        assert_eq!(self.usage() & !0x40, 0x80, "key usage");
        assert!(matches!(self.value(19), None | Some([0x30, 0x00])), "no CA");
    }

    fn assert_authority(&self, depth: usize) {
        let constraints = self.value(19).expect("basicConstraints");
        assert!(constraints.get(2..5) == Some(&[0x01, 0x01, 0xff]), "a CA");
        if let Some([0x02, 1, length]) = constraints.get(5..8) {
            assert!(
                usize::from(*length) >= depth.saturating_sub(1),
                "path length"
            );
        }
        // keyCertSign, cRLSign because its list was believed, and digitalSignature if wanted.
        assert_eq!(self.usage() & !0x80, 0x06, "key usage");
        if let Some(purposes) = self.value(37) {
            let all = parse_one(purposes).expect("it is DER");
            assert!(
                all.inside()
                    .iter()
                    .any(|purpose| purpose.content() == CODE_SIGNING)
            );
        }
        assert!(self.value(56).is_none(), "noRevAvail");
    }
}

impl Extension {
    fn of(node: &Node) -> Self {
        let (id, is_critical, value) = match node.inside() {
            [id, value] => (id, false, value),
            [id, critical, value] => {
                assert_eq!(critical.encode(), [0x01, 0x01, 0xff], "DER");
                (id, true, value)
            }
            _ => panic!("an extension has two or three parts"),
        };
        assert_eq!((id.tag, value.tag), (0x06, 0x04));
        Self {
            id: id.content(),
            is_critical,
            value: value.content(),
        }
    }
}

/// The content of a revocation list that was believed.
pub struct List {
    /// Serial numbers of the entries, content octets.
    pub revoked: Vec<Vec<u8>>,
    /// The list's number, 20 octets.
    pub number: [u8; 20],
    /// thisUpdate and nextUpdate.
    pub updates: [String; 2],
}

impl List {
    /// Reads an accepted list. Panics where this reader and the verifier differ.
    pub fn of(list: &[u8]) -> Self {
        let whole = parse_one(list).expect("what was accepted is DER");
        let [signed, _, _] = whole.inside() else {
            panic!("a list has three parts")
        };
        let [_, _, _, this, next, rest @ ..] = signed.inside() else {
            panic!("the signed part of a list has five fields at least")
        };
        let (entries, extensions) = match rest {
            [extensions] => (None, extensions),
            [entries, extensions] => (Some(entries), extensions),
            _ => panic!("entries and extensions, nothing else"),
        };
        assert_eq!(extensions.tag, 0xa0);
        let number = extensions.inside()[0]
            .inside()
            .iter()
            .map(Extension::of)
            .find(|extension| extension.id == [0x55, 0x1d, 20])
            .expect("a list has a number");
        let number = parse_one(&number.value).expect("it is DER").content();
        // A leading zero octet only keeps the number positive.
        let number = number.strip_prefix(&[0]).unwrap_or(&number);
        let mut padded = [0; 20];
        padded[20 - number.len()..].copy_from_slice(number);
        Self {
            revoked: entries
                .iter()
                .flat_map(|entries| entries.inside())
                .map(|entry| entry.inside()[0].content())
                .collect(),
            number: padded,
            updates: [this, next].map(time),
        }
    }
}

/// A time as `YYYYMMDDHHMMSS`, which compares as text.
fn time(node: &Node) -> String {
    let text = String::from_utf8(node.content()).expect("a time is ASCII");
    let digits = text.strip_suffix('Z').expect("UTC");
    match node.tag {
        0x17 if digits < "50" => format!("20{digits}"),
        0x17 => format!("19{digits}"),
        // RFC 5280 §4.1.2.5: only from 2050 on.
        0x18 if digits >= "2050" => digits.to_owned(),
        _ => panic!("a time in the wrong form: {text}"),
    }
}

/// Seconds since 1970 in the same form.
pub fn written(seconds: u64) -> String {
    // RFC 3339 without its punctuation.
    let text = countersign_trust_store::UnixTime::from_secs(seconds).to_string();
    text.chars().filter(char::is_ascii_digit).collect()
}
