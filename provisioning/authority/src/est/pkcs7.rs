//! PKCS#7 with certificates and nothing else: how EST answers (RFC 7030 §4.1.3, RFC 5652 §5.2).

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, explicit around the content and implicit for the certificates: the same octet.
const CONTEXT_0: u8 = 0xa0;
/// INTEGER 1.
const VERSION: &[u8] = &[0x02, 0x01, 0x01];
/// OBJECT IDENTIFIER 1.2.840.113549.1.7.1, id-data.
const DATA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01,
];
/// OBJECT IDENTIFIER 1.2.840.113549.1.7.2, id-signedData.
const SIGNED_DATA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02,
];

/// A SignedData that holds these certificates, each in DER: no digest, no content, no signer.
#[must_use]
pub fn certs_only(certificates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut sorted: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    // X.690 §11.6: the members of a SET OF stand in the order of their encodings.
    sorted.sort_unstable();
    let signed_data = [
        VERSION,
        &value(SET, &[]),
        &value(SEQUENCE, DATA),
        &value(CONTEXT_0, &sorted.concat()),
        &value(SET, &[]),
    ]
    .concat();
    let content = value(CONTEXT_0, &value(SEQUENCE, &signed_data));
    value(SEQUENCE, &[SIGNED_DATA, &content].concat())
}

/// Tag, length in its shortest form (X.690 §10.1), and content.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
    let mut encoded = vec![tag];
    match significant.as_slice() {
        [] => encoded.push(0),
        [short] if *short < 0x80 => encoded.push(*short),
        long => {
            encoded.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            encoded.extend(long);
        }
    }
    encoded.extend(content);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_degenerate_form_is_byte_for_byte_what_the_standard_has() {
        // A certificate is any SEQUENCE here.
        let made = certs_only(&[[0x30, 0x03, 0x02, 0x01, 0x05]]);
        assert_eq!(
            hex::encode(made),
            concat!(
                "302a06092a864886f70d010702",
                "a01d301b0201013100",
                "300b06092a864886f70d010701",
                "a0053003020105",
                "3100"
            )
        );
    }

    #[test]
    fn lengths_are_in_their_shortest_form() {
        for (length, expected) in [
            (0, "0400"),
            (0x7f, "047f"),
            (0x80, "048180"),
            (0x100, "04820100"),
            (0x1_0000, "0483010000"),
        ] {
            let made = value(4, &vec![7; length]);
            assert!(hex::encode(&made).starts_with(expected), "{length}");
            assert_eq!(made.len(), expected.len() / 2 + length);
        }
    }
}
