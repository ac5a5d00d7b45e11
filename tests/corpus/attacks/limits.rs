//! Sizes, counts and depths that no honest file needs.

use countersign_format::limits::{
    MAX_CERTIFICATE_BYTES, MAX_SECTIONS, MAX_SIGNATURE_BYTES, MAX_STATEMENT_BYTES,
};
use countersign_trust_store::Code;

use crate::attack::{Attack, Hostile, attack};
use crate::cbor;
use crate::good::{encode, name_component};
use crate::handmade::{
    CONTENT_TYPE, COSE_SIGN, Cose, ESP256, body_header, changed, signer_header, stating_instead,
    x5chain,
};
use crate::wasm::{self, CUSTOM, NAME, leb};

const GIBIBYTE: u64 = 1 << 30;

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "ta25_an_array_in_an_array_100000_deep",
            "The signature section holds 100,000 arrays, each in the one before.",
            Code::Malformed,
            |good| good.enclose(&[vec![0x81; 100_000], vec![0]].concat()),
        ),
        attack(
            "ta25_a_tag_on_a_tag_100000_deep",
            "The signature section holds 100,000 tags, each on the one behind it.",
            Code::Malformed,
            |good| good.enclose(&[vec![0xc6; 100_000], vec![0]].concat()),
        ),
        attack(
            "ta25_a_statement_10000_deep",
            "The statement is signed, and is 10,000 arrays, each in the one before.",
            Code::Malformed,
            |good| good.sign_statement(&[&good.device()], &[vec![0x81; 10_000], vec![0]].concat()),
        ),
        attack(
            "ta25_a_header_40000_deep",
            "A signer's header is 40,000 maps, each in the one before.",
            Code::Malformed,
            |good| {
                changed(good, |cose| {
                    cose.signer = [[0xa1, 0x01].repeat(20_000), vec![0]].concat()
                })
            },
        ),
        attack(
            "ta25_a_statement_with_a_part_10000_deep",
            "A part of the statement is 10,000 maps, each in the one before.",
            Code::Malformed,
            |good| stating_instead_audience(good, [[0xa1, 0x01].repeat(5_000), vec![0]].concat()),
        ),
        attack(
            "ta25_a_byte_string_of_four_gibibytes",
            "The statement claims to be 0xffffffff bytes long.",
            Code::Malformed,
            |good| {
                let header = cbor::bytes(&body_header(cbor::text(CONTENT_TYPE)));
                let start = [cbor::head(6, COSE_SIGN), vec![0x84], header, vec![0xa0]];
                good.enclose(&[start.concat(), cbor::head(2, 0xffff_ffff)].concat())
            },
        ),
        attack(
            "ta26_a_file_of_four_gibibytes",
            "The signed file, and zeros up to four gibibytes.",
            Code::LimitExceeded,
            |good| Hostile::sparse(good.file(), 4 * GIBIBYTE),
        ),
        attack(
            "ta26_zeros_of_four_gibibytes",
            "Four gibibytes of zeros.",
            Code::LimitExceeded,
            |_| Hostile::sparse(Vec::new(), 4 * GIBIBYTE),
        ),
        attack(
            "ta26_a_signature_section_of_64_mebibytes",
            "The signature section is 64 mebibytes long.",
            Code::LimitExceeded,
            |good| {
                let size = 64 << 20;
                let content = 1 + NAME.len() + size;
                let start = [
                    good.component(),
                    vec![CUSTOM],
                    leb(content),
                    leb(NAME.len()),
                    NAME.into(),
                ]
                .concat();
                let whole = start.len() + size;
                Hostile::sparse(start, whole.try_into().expect("a size"))
            },
        ),
        attack(
            "ta26_a_signature_section_a_byte_too_long",
            "The payload of the signature section has a byte more than it may have.",
            Code::LimitExceeded,
            |good| good.enclose(&vec![0xf6; size(MAX_SIGNATURE_BYTES) + 1]),
        ),
        attack(
            "ta26_a_statement_a_byte_too_long",
            "The statement has a byte more than it may have.",
            Code::LimitExceeded,
            |good| {
                changed(good, |cose| {
                    cose.statement = vec![0xf6; size(MAX_STATEMENT_BYTES) + 1]
                })
            },
        ),
        attack(
            "ta26_a_section_too_many",
            "The component has a section more than it may have.",
            Code::LimitExceeded,
            |good| {
                let many = wasm::custom("", b"").repeat(size(MAX_SECTIONS));
                let component = [wasm::PREAMBLE.to_vec(), many].concat();
                good.sign_component(&component)
            },
        ),
        attack(
            "ta26_five_signers",
            "A file with one signer more than it may have.",
            Code::LimitExceeded,
            |good| {
                let device = good.device();
                let cose = Cose::of(&device, encode(good.fields(&device)));
                let entry = cose.entry(&cbor::bytes(&cose.signature(&device.key)));
                good.enclose(&cose.encode_signers(&cbor::array(&vec![entry; 5])))
            },
        ),
        attack(
            "ta26_a_component_larger_than_any",
            "The statement says that the component is larger than components may be.",
            Code::LimitExceeded,
            |good| stating_instead(good, 4, cbor::unsigned(1 << 40)),
        ),
        attack(
            "ta26_65_devices",
            "The statement's audience has an entry more than lists may have.",
            Code::LimitExceeded,
            |good| {
                let devices: Vec<_> = (0..65)
                    .map(|n| cbor::text(&format!("pump-{n:02}")))
                    .collect();
                let audience = cbor::map(&[(cbor::unsigned(1), cbor::array(&devices))]);
                stating_instead_audience(good, audience)
            },
        ),
        attack(
            "tc30_a_certificate_a_byte_too_long",
            "The signer's certificate has a byte more than it may have.",
            Code::LimitExceeded,
            |good| {
                with_chain(
                    good,
                    vec![vec![0x30; size(MAX_CERTIFICATE_BYTES) + 1], vec![0x30]],
                )
            },
        ),
        attack(
            "tc30_a_certificate_of_100_kibibytes",
            "The signer's certificate is signed by its issuer and has an extension of 100 KiB.",
            Code::LimitExceeded,
            |good| {
                let device = good.bent(crate::good::LEAF, |parts| {
                    let id = der::asn1::ObjectIdentifier::new_unwrap("1.2.3.4");
                    parts.set_extension(id, false, &vec![4; 100 << 10]);
                });
                with_chain(good, device.chain)
            },
        ),
        attack(
            "tc30_a_certificate_of_ten_megabytes",
            "The signer's certificate has ten megabytes.",
            Code::LimitExceeded,
            |good| with_chain(good, vec![vec![0x30; 10_000_000], vec![0x30]]),
        ),
        attack(
            "tc26_a_valid_chain_of_four",
            "Every certificate is right, and there is one more than may be sent.",
            Code::LimitExceeded,
            |good| {
                let chain = good.device().chain;
                let four = [chain, vec![good.pki.root().to_vec()]].concat();
                with_chain(good, four)
            },
        ),
    ];
    for (word, count) in [("2_to_32", 1_u64 << 32), ("2_to_64", u64::MAX)] {
        all.push(attack(
            format!("ta25_{word}_signers"),
            "The list of signatures claims more entries than memory has room for.",
            Code::LimitExceeded,
            move |good| {
                let device = good.device();
                let cose = Cose::of(&device, encode(good.fields(&device)));
                good.enclose(&cose.encode_signers(&cbor::head(4, count)))
            },
        ));
        all.push(attack(
            format!("ta25_{word}_certificates"),
            "The chain claims more certificates than memory has room for.",
            Code::LimitExceeded,
            move |good| {
                changed(good, |cose| {
                    cose.signer = signer_header(cbor::integer(ESP256), cbor::head(4, count));
                })
            },
        ));
        all.push(attack(
            format!("ta25_{word}_signers_in_the_statement"),
            "The statement's list of signers claims more entries than memory has room for.",
            Code::LimitExceeded,
            move |good| stating_instead(good, 8, cbor::head(4, count)),
        ));
        all.push(attack(
            format!("ta25_{word}_parts"),
            "The statement claims more parts than memory has room for.",
            Code::LimitExceeded,
            move |good| good.sign_statement(&[&good.device()], &cbor::head(5, count)),
        ));
    }
    for count in [4, 10, 1_000, 10_000] {
        all.push(attack(
            format!("tc26_a_chain_of_{count}"),
            "More certificates than may be sent.",
            Code::LimitExceeded,
            move |good| with_chain(good, vec![vec![0x30, 0x00]; count]),
        ));
    }
    all
}

/// The good file with any certificates, its signature good.
fn with_chain(good: &crate::good::Good, chain: Vec<Vec<u8>>) -> Vec<u8> {
    let mut device = good.device();
    let mut fields = good.fields(&device);
    name_component(&mut fields, &good.component());
    device.chain = chain;
    fields.signers = vec![device.id()];
    let mut cose = Cose::of(&device, encode(fields));
    cose.signer = signer_header(cbor::integer(ESP256), x5chain(&device.chain));
    good.enclose(&cose.encode(&device.key))
}

fn stating_instead_audience(good: &crate::good::Good, audience: Vec<u8>) -> Vec<u8> {
    let mut entries = crate::handmade::entries(good);
    entries.insert(8, (cbor::unsigned(9), audience));
    crate::handmade::stating(good, &entries)
}

fn size(limit: u64) -> usize {
    limit.try_into().expect("a limit")
}
