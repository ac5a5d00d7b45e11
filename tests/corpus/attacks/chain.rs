//! Where a chain leads, and in which order.

use countersign_format::oid as ours;
use countersign_keys::Algorithm;
use countersign_provisioning::Profile;
use countersign_testing::{CertificateParts, Role, TestPki, throwaway_key};
use countersign_trust_store::{Code, oid};
use x509_cert::ext::pkix::KeyUsages;

use super::usage::key_usage;
use crate::attack::{Attack, Hostile, attack, control};
use crate::der;
use crate::good::{COMPONENT, DEVICE, Device, Good, LEAF, LOWER, UPPER, stranger};

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = roots();
    all.extend(order());
    all.extend(lengths());
    all.extend(authorities());
    all
}

fn roots() -> Vec<Attack> {
    vec![
        attack(
            "tc01_a_self_signed_leaf",
            "The signer's certificate is its own issuer's, and alone.",
            Code::UntrustedRoot,
            |good| {
                let leaf = self_signed(good, |parts| parts.issuer = parts.subject.clone());
                good.sign(&good.device_with(vec![leaf]))
            },
        ),
        attack(
            "tc01_a_self_signed_leaf_in_front_of_good_authorities",
            "The signer's certificate is its own issuer's, and authorities that did not issue it follow.",
            Code::ChainOrder,
            |good| {
                let leaf = self_signed(good, |parts| parts.issuer = parts.subject.clone());
                good.sign(&good.replaced(LEAF, leaf))
            },
        ),
        attack(
            "tc01_a_leaf_that_names_the_root_and_signed_itself",
            "The signer's certificate names the root as its issuer, and its own key signed it.",
            Code::UntrustedRoot,
            |good| {
                let root = CertificateParts::of(good.pki.root());
                let leaf = self_signed(good, move |parts| parts.issuer = root.subject.clone());
                good.sign(&good.device_with(vec![leaf]))
            },
        ),
        attack(
            "tc02_another_root_of_the_same_name",
            "A whole chain of equal names under another root.",
            Code::UntrustedRoot,
            |good| {
                let pki = stranger();
                good.sign(&Device {
                    key: pki.device_key(),
                    chain: pki.chain().to_vec(),
                })
            },
        ),
        attack(
            "tc02_another_root_of_the_same_name_and_key_identifier",
            "A whole chain of equal names under another root, whose key identifier is that of the trusted one.",
            Code::UntrustedRoot,
            |good| {
                let value = extension(
                    &CertificateParts::of(good.pki.root()),
                    oid::SUBJECT_KEY_IDENTIFIER,
                );
                let identifier = der::content(&value);
                let authority = der::sequence(&[&der::tlv(0x80, &identifier)]);
                let pki = TestPki::builder()
                    .device_id(DEVICE)
                    .with_extension(Role::Root, oid::SUBJECT_KEY_IDENTIFIER, false, &value)
                    .with_extension(
                        Role::Intermediate,
                        oid::AUTHORITY_KEY_IDENTIFIER,
                        false,
                        &authority,
                    )
                    .build();
                good.sign(&Device {
                    key: pki.device_key(),
                    chain: pki.chain().to_vec(),
                })
            },
        ),
        attack(
            "tc03_another_root_sent_along",
            "A chain under another root, which is sent along.",
            Code::UntrustedRoot,
            |good| {
                let pki = TestPki::builder().device_id(DEVICE).build();
                let chain = [pki.chain().to_vec(), vec![pki.root().to_vec()]].concat();
                good.sign(&Device {
                    key: pki.device_key(),
                    chain,
                })
            },
        ),
        attack(
            "tc03_the_hosts_own_root_sent_along",
            "The trusted root is sent with a chain that leads to it.",
            Code::ChainOrder,
            |good| {
                let (device, key) = below(good, UPPER);
                let chain = vec![
                    device,
                    good.pki.chain()[UPPER].clone(),
                    good.pki.root().to_vec(),
                ];
                good.sign(&Device { key, chain })
            },
        ),
        attack(
            "tc03_the_hosts_own_root_behind_a_strangers_chain",
            "The trusted root is sent with a chain that does not lead to it.",
            Code::ChainOrder,
            |good| {
                let pki = TestPki::builder().device_id(DEVICE).build();
                let chain = [pki.chain().to_vec(), vec![good.pki.root().to_vec()]].concat();
                good.sign(&Device {
                    key: pki.device_key(),
                    chain,
                })
            },
        ),
        attack(
            "tc34_the_root_in_the_place_of_an_authority",
            "The trusted root stands where the authority below it belongs.",
            Code::ChainOrder,
            |good| good.sign(&good.replaced(UPPER, good.pki.root().to_vec())),
        ),
        attack(
            "tc40_an_authority_marked_as_a_development_root",
            "An authority's certificate has the mark of development roots.",
            Code::CertificateExtension,
            |good| marked(good, LOWER),
        ),
        attack(
            "tc40_a_device_marked_as_a_development_root",
            "The device's certificate has the mark of development roots.",
            Code::CertificateExtension,
            |good| marked(good, LEAF),
        ),
    ]
}

fn order() -> Vec<Attack> {
    let reordered = |name: &str, what: &str, code, order: &'static [usize]| {
        attack(name, what, code, move |good: &Good| {
            let chain = good.device().chain;
            let chain = order.iter().map(|place| chain[*place].clone()).collect();
            good.sign(&good.device_with(chain))
        })
    };
    vec![
        control(
            "control_a_device_below_the_upper_authority",
            "A device's certificate that the upper authority issued.",
            |good| {
                let (device, key) = below(good, UPPER);
                let chain = vec![device, good.pki.chain()[UPPER].clone()];
                good.sign(&Device { key, chain })
            },
        ),
        reordered(
            "tc34_authorities_in_each_others_place",
            "The two authorities have changed places.",
            Code::ChainOrder,
            &[LEAF, UPPER, LOWER],
        ),
        reordered(
            "tc34_the_lower_authority_missing",
            "The authority that issued the device's certificate is missing.",
            Code::ChainOrder,
            &[LEAF, UPPER],
        ),
        reordered(
            "tc34_the_upper_authority_missing",
            "The authority below the root is missing.",
            Code::UntrustedRoot,
            &[LEAF, LOWER],
        ),
        reordered(
            "tc34_both_authorities_missing",
            "The device's certificate is alone.",
            Code::UntrustedRoot,
            &[LEAF],
        ),
        reordered(
            "tc22_the_device_twice",
            "The device's certificate is there twice.",
            Code::ChainOrder,
            &[LEAF, LEAF, LOWER],
        ),
        reordered(
            "tc22_an_authority_twice",
            "An authority is there twice in place of the one above it.",
            Code::ChainOrder,
            &[LEAF, LOWER, LOWER],
        ),
        attack(
            "tc34_the_device_last",
            "The chain begins with the authority below the root and ends with the device.",
            Code::SignersMismatch,
            |good| {
                let mut chain = good.device().chain;
                chain.reverse();
                good.sign(&good.device_with(chain))
            },
        ),
        attack(
            "tc22_an_unrelated_certificate_behind_the_chain",
            "A certificate of somebody else follows a whole chain.",
            Code::ChainOrder,
            |good| {
                let (device, key) = below(good, UPPER);
                let foreign = stranger().chain()[UPPER].clone();
                let chain = vec![device, good.pki.chain()[UPPER].clone(), foreign];
                good.sign(&Device { key, chain })
            },
        ),
        attack(
            "tc22_an_unrelated_certificate_in_the_chain",
            "A certificate of somebody else stands between device and authority.",
            Code::ChainOrder,
            |good| {
                let (device, key) = below(good, UPPER);
                let foreign = stranger().chain()[LOWER].clone();
                let chain = vec![device, foreign, good.pki.chain()[UPPER].clone()];
                good.sign(&Device { key, chain })
            },
        ),
        attack(
            "tc17_another_issuers_name",
            "The device's certificate names another issuer than the next certificate's subject.",
            Code::ChainOrder,
            |good| good.sign(&good.bent(LEAF, |parts| parts.issuer = parts.subject.clone())),
        ),
        attack(
            "tc17_another_subject_of_an_authority",
            "An authority's certificate has another subject than the device's names.",
            Code::ChainOrder,
            |good| {
                let name = common_name(0x0c, b"Somebody else");
                good.sign(&good.bent(LOWER, |parts| parts.subject = der::any(&name)))
            },
        ),
        attack(
            "tc17_the_issuers_name_in_another_string_type",
            "The issuer's name in the device's certificate reads the same, in another type of string.",
            Code::ChainOrder,
            |good| renamed_issuer(good, |name| replaced(name, 0x0c, 0x13)),
        ),
        attack(
            "tc17_the_issuers_name_in_capital_letters",
            "The issuer's name in the device's certificate differs in case.",
            Code::ChainOrder,
            |good| {
                renamed_issuer(good, |name| {
                    name.iter()
                        .map(|byte| {
                            if byte.is_ascii_lowercase() {
                                byte - 32
                            } else {
                                *byte
                            }
                        })
                        .collect()
                })
            },
        ),
    ]
}

fn lengths() -> Vec<Attack> {
    let path_length = |name: &str, what: &str, place: usize, code: Option<Code>, length: u8| {
        let make = move |good: &Good| {
            let value = constraints(true, Some(length));
            good.sign(&good.bent(place, |parts| {
                parts.set_extension(oid::BASIC_CONSTRAINTS, true, &value)
            }))
        };
        match code {
            Some(code) => attack(name, what, code, make),
            None => control(name, what, make),
        }
    };
    vec![
        path_length(
            "control_a_path_length_that_suffices",
            "The authority below the root allows one authority below itself.",
            UPPER,
            None,
            1,
        ),
        path_length(
            "tc06_a_path_length_of_0_above_an_authority",
            "The authority below the root allows none below itself, and there is one.",
            UPPER,
            Some(Code::ChainLength),
            0,
        ),
        attack(
            "tc06_a_path_length_of_1_in_the_root_above_two",
            "The root allows one authority below itself, and there are two.",
            Code::ChainLength,
            |_| {
                let pki = TestPki::builder()
                    .extra_intermediates(1)
                    .basic_constraints(Role::Root, true, Some(1))
                    .build();
                under(&pki)
            },
        ),
        attack(
            "tc06_a_self_issued_authority",
            "An authority has a second certificate, issued by itself, which no path length counts.",
            Code::ChainOrder,
            |good| {
                let (device, key) = below(good, UPPER);
                let mut parts = CertificateParts::of(&good.pki.chain()[UPPER]);
                parts.issuer = parts.subject.clone();
                let authority = extension_authority(&good.pki.chain()[UPPER]);
                parts.set_extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &authority);
                let itself = parts.sign(&good.issuer_key(LOWER));
                let chain = vec![device, itself, good.pki.chain()[UPPER].clone()];
                good.sign(&Device { key, chain })
            },
        ),
        attack(
            "tc27_two_authorities_that_issued_each_other",
            "Each of two authorities issued the other, and neither leads to the root.",
            Code::UntrustedRoot,
            |good| {
                let pki = stranger();
                let keys = pki.authority_keys();
                let mut upper = CertificateParts::of(&pki.chain()[UPPER]);
                upper.issuer = CertificateParts::of(&pki.chain()[LOWER]).subject;
                let mut chain = pki.chain().to_vec();
                chain[UPPER] = upper.sign(&keys[2]);
                good.sign(&Device {
                    key: pki.device_key(),
                    chain,
                })
            },
        ),
    ]
}

/// Who may issue.
fn authorities() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "tc07_a_device_that_issues_a_certificate",
            "A device of good standing issued another device's certificate.",
            Code::NotACa,
            |good| issued_by_device(good, |_| ()),
        ),
        attack(
            "tc07_a_device_that_may_sign_certificates_but_is_no_authority",
            "A device whose key usage has keyCertSign issued another device's certificate.",
            Code::NotACa,
            |good| {
                issued_by_device(good, |parts| {
                    let both = KeyUsages::DigitalSignature | KeyUsages::KeyCertSign;
                    parts.set_extension(oid::KEY_USAGE, true, &key_usage(both));
                })
            },
        ),
        attack(
            "tc08_an_authority_that_signs_components",
            "The signer's certificate is an authority's.",
            Code::NotACa,
            |good| {
                let value = constraints(true, None);
                good.sign(&good.bent(LEAF, |parts| {
                    parts.set_extension(oid::BASIC_CONSTRAINTS, true, &value)
                }))
            },
        ),
        attack(
            "tb16_a_device_with_the_key_of_its_authority",
            "The device's certificate is for the key of the authority that issued it.",
            Code::KeyInvalid,
            |good| {
                let key = good.issuer_key(LEAF);
                good.sign(&good.device_with_key(key))
            },
        ),
        attack(
            "tb16_a_device_with_the_key_of_the_root",
            "The device's certificate is for the root's key.",
            Code::KeyInvalid,
            |good| {
                let key = good.issuer_key(UPPER);
                good.sign(&good.device_with_key(key))
            },
        ),
    ];
    for (whose, place) in [("the_lower", LOWER), ("the_upper", UPPER)] {
        all.push(attack(
            format!("tc04_{whose}_authority_without_basic_constraints"),
            "An authority's certificate does not say that it is one.",
            Code::NotACa,
            move |good| {
                good.sign(&good.bent(place, |parts| {
                    parts.remove_extension(oid::BASIC_CONSTRAINTS)
                }))
            },
        ));
        all.push(attack(
            format!("tc05_{whose}_authority_that_says_it_is_none"),
            "An authority's certificate says that it is none.",
            Code::NotACa,
            move |good| {
                let value = constraints(false, None);
                good.sign(&good.bent(place, |parts| {
                    parts.set_extension(oid::BASIC_CONSTRAINTS, true, &value);
                }))
            },
        ));
    }
    all
}

/// A device's certificate that the authority at this place issued, and its key.
pub(super) fn below(good: &Good, place: usize) -> (Vec<u8>, countersign_keys::SigningKey) {
    let key = throwaway_key(Algorithm::Esp256);
    let issuer = &good.pki.chain()[place];
    let mut parts =
        CertificateParts::of(&good.issue(Profile::ComponentSigner, "below", key.public_key()));
    parts.issuer = CertificateParts::of(issuer).subject;
    parts.set_extension(
        oid::AUTHORITY_KEY_IDENTIFIER,
        false,
        &extension_authority(issuer),
    );
    (parts.sign(&good.issuer_key(place - 1)), key)
}

/// A device whose certificate another device issued, which the upper authority certified.
fn issued_by_device(good: &Good, change: impl Fn(&mut CertificateParts)) -> Vec<u8> {
    let (issuer, issuing_key) = below(good, UPPER);
    let mut parts = CertificateParts::of(&issuer);
    // Its subject key identifier, which a device need not have, is that of its key.
    let identifier = der::tlv(der::OCTET_STRING, &[7; 20]);
    parts.set_extension(oid::SUBJECT_KEY_IDENTIFIER, false, &identifier);
    change(&mut parts);
    let issuer = parts.sign(&good.issuer_key(LOWER));

    let key = throwaway_key(Algorithm::Esp256);
    let leaf = good.issue(
        Profile::ComponentSigner,
        "issued-by-a-device",
        key.public_key(),
    );
    let mut parts = CertificateParts::of(&leaf);
    parts.issuer = CertificateParts::of(&issuer).subject;
    let authority = der::sequence(&[&der::tlv(0x80, &[7; 20])]);
    parts.set_extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &authority);
    let chain = vec![
        parts.sign(&issuing_key),
        issuer,
        good.pki.chain()[UPPER].clone(),
    ];
    good.sign(&Device { key, chain })
}

/// The authorityKeyIdentifier of what this authority issues.
fn extension_authority(issuer: &[u8]) -> Vec<u8> {
    let identifier = extension(&CertificateParts::of(issuer), oid::SUBJECT_KEY_IDENTIFIER);
    der::sequence(&[&der::tlv(0x80, &der::content(&identifier))])
}

fn extension(parts: &CertificateParts, id: ::der::asn1::ObjectIdentifier) -> Vec<u8> {
    let extensions = parts.extensions.as_ref().expect("extensions");
    let found = extensions.iter().find(|extension| extension.extn_id == id);
    found.expect("the extension").extn_value.as_bytes().to_vec()
}

/// The good leaf, changed and signed with its own key.
fn self_signed(good: &Good, change: impl Fn(&mut CertificateParts)) -> Vec<u8> {
    let mut parts = CertificateParts::of(&good.pki.chain()[LEAF]);
    change(&mut parts);
    parts.sign(&good.pki.device_key())
}

fn marked(good: &Good, place: usize) -> Vec<u8> {
    good.sign(&good.bent(place, |parts| {
        parts.set_extension(ours::DEVELOPMENT_ROOT, false, der::NULL);
    }))
}

/// A component signed under another PKI, to be judged under that one's root.
pub(super) fn under(pki: &TestPki) -> Hostile {
    let component = crate::components::guest("hello");
    let mut manifest = pki.manifest(COMPONENT);
    manifest.grants.stdio.stdout = true;
    let file = pki.forge(&component, pki.statement(&component, &manifest));
    Hostile::from(file)
        .under(pki.root())
        .with_lists(pki.crls().to_vec())
}

pub(super) fn constraints(ca: bool, path_length: Option<u8>) -> Vec<u8> {
    let ca = if ca {
        der::tlv(der::BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    let length = path_length.map(|length| der::tlv(der::INTEGER, &[length]));
    der::sequence(&[&ca, &length.unwrap_or_default()])
}

fn common_name(string: u8, text: &[u8]) -> Vec<u8> {
    let attribute = der::sequence(&[&der::oid("2.5.4.3"), &der::tlv(string, text)]);
    der::sequence(&[&der::tlv(der::SET, &attribute)])
}

/// The good file, the issuer's name in the device's certificate written in another way.
fn renamed_issuer(good: &Good, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    good.sign(&good.bent(LEAF, |parts| {
        let name = ::der::Encode::to_der(&parts.issuer).expect("it encodes");
        let changed = change(&name);
        assert_ne!(changed, name, "the change changes something");
        parts.issuer = der::any(&changed);
    }))
}

/// The tag of the name's last string replaced.
fn replaced(name: &[u8], from: u8, to: u8) -> Vec<u8> {
    let mut name = name.to_vec();
    let sequence = der::children(&name).pop().expect("an RDN");
    let attribute = der::children(&sequence).pop().expect("an attribute");
    let string = der::children(&attribute).pop().expect("a string");
    assert_eq!(string[0], from, "the string type that our authorities use");
    let at = name.len() - string.len();
    name[at] = to;
    name
}
