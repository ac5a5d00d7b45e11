//! Changes to DER: an element taken out, doubled, exchanged, moved in from another certificate, an extension added.
//! The lengths around it are set right, so that the change is what the reader meets, and not broken framing.

use countersign_trust_store::oid;

use crate::cursor::Cursor;
use crate::der::{Body, Node, encode, parse};

/// At most this many changes to one object.
const MAX_CHANGES: u8 = 6;

/// Values of extensions that are worth trying in any of them.
const VALUES: &[&[u8]] = &[
    &[0x05, 0x00],
    &[0x30, 0x00],
    // basicConstraints: cA; cA with pathLenConstraint 0.
    &[0x30, 0x03, 0x01, 0x01, 0xff],
    &[0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00],
    // keyUsage: digitalSignature; keyCertSign and cRLSign; everything.
    &[0x03, 0x02, 0x07, 0x80],
    &[0x03, 0x02, 0x01, 0x06],
    &[0x03, 0x03, 0x07, 0xff, 0x80],
    // extendedKeyUsage: codeSigning; any.
    &[
        0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03,
    ],
    &[0x30, 0x06, 0x06, 0x04, 0x55, 0x1d, 0x25, 0x00],
    // cRLNumber.
    &[0x02, 0x01, 0x00],
    &[0x02, 0x01, 0x7f],
    &[
        0x02, 0x14, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    ],
];

/// Changes the encoding of an object as the input asks; `donors` are objects that parts may be taken from.
pub fn change(object: &[u8], donors: &[&[u8]], input: &mut Cursor<'_>) -> Vec<u8> {
    let count = input.byte() % MAX_CHANGES;
    let mut nodes = parse(object).expect("the good objects are DER");
    for _ in 0..count {
        change_once(&mut nodes, donors, input);
    }
    encode(&nodes)
}

fn change_once(nodes: &mut Vec<Node>, donors: &[&[u8]], input: &mut Cursor<'_>) {
    let kind = input.byte() % 14;
    let paths = paths(nodes);
    let Some(path) = paths.get(input.place(paths.len())) else {
        return;
    };
    match kind {
        0 => at(nodes, path).body = Body::Octets(input.text().to_vec()),
        1 => drop(beside(nodes, path, Vec::remove)),
        2 => beside(nodes, path, |all, at| all.insert(at, all[at].clone())),
        3 => {
            let other = paths[input.place(paths.len())].clone();
            if !other.starts_with(path) && !path.starts_with(&other) {
                let (one, two) = (at(nodes, path).clone(), at(nodes, &other).clone());
                *at(nodes, path) = two;
                *at(nodes, &other) = one;
            }
        }
        4 => at(nodes, path).tag = input.byte(),
        5 => {
            let node = at(nodes, path);
            let mut octets = node.content();
            crate::bytes::change(&mut octets, input);
            node.body = Body::Octets(octets);
        }
        6 => {
            let new = Node {
                body: Body::Bare(input.text().to_vec()),
                ..Node::octets(0, &[])
            };
            beside(nodes, path, |all, at| all.insert(at, new));
        }
        7 => {
            if let Some(part) = donated(donors, input) {
                *at(nodes, path) = part;
            }
        }
        8 => {
            if let Some(part) = donated(donors, input) {
                beside(nodes, path, |all, at| all.insert(at, part));
            }
        }
        9 | 10 => add_extension(nodes, input),
        11 => at(nodes, path).is_padded = true,
        12 => beside(nodes, path, |all, _| all.reverse()),
        _ => {
            // A time or another short text, its last digits changed.
            let node = at(nodes, path);
            let mut octets = node.content();
            let digit = input.place(octets.len());
            if let Some(octet) = octets.get_mut(digit) {
                *octet = b'0' + input.byte() % 10;
            }
            node.body = Body::Octets(octets);
        }
    }
}

/// Puts an extension into the list of them: the last `[0]` or `[3]` on the second level.
fn add_extension(nodes: &mut [Node], input: &mut Cursor<'_>) {
    let id = input.choose(&[
        oid::AUTHORITY_INFO_ACCESS,
        oid::AUTHORITY_KEY_IDENTIFIER,
        oid::BASIC_CONSTRAINTS,
        oid::CAPABILITIES,
        oid::CERTIFICATE_POLICIES,
        oid::COMPONENT_SCOPE,
        oid::CRL_DISTRIBUTION_POINTS,
        oid::CRL_NUMBER,
        oid::DELTA_CRL_INDICATOR,
        oid::DEVELOPMENT_ROOT,
        oid::DEVICE_TYPE,
        oid::EXTENDED_KEY_USAGE,
        oid::FRESHEST_CRL,
        oid::INHIBIT_ANY_POLICY,
        oid::ISSUING_DISTRIBUTION_POINT,
        oid::KEY_USAGE,
        oid::NAME_CONSTRAINTS,
        oid::NO_REV_AVAIL,
        oid::POLICY_CONSTRAINTS,
        oid::SUBJECT_ALT_NAME,
        oid::SUBJECT_KEY_IDENTIFIER,
        // At the end: the seeds count in this list.
        oid::ATTESTED_BY,
    ]);
    let flags = input.byte();
    let value = if flags & 2 == 0 {
        input.choose(VALUES)
    } else {
        input.text()
    };
    let mut extension = vec![Node::octets(0x06, id.as_bytes())];
    // Critical or not, or in words that DER does not have for it.
    match flags >> 3 & 3 {
        1 => extension.push(Node::octets(0x01, &[0x00])),
        2 => extension.push(Node::octets(0x01, &[0x01])),
        _ if flags & 1 != 0 => extension.push(Node::octets(0x01, &[0xff])),
        _ => {}
    }
    extension.push(Node::octets(0x04, value));
    let extension = Node::elements(0x30, extension);

    let Some(Body::Elements(_, parts)) = nodes.first_mut().map(|object| &mut object.body) else {
        return;
    };
    let Some(Body::Elements(_, fields)) = parts.first_mut().map(|signed| &mut signed.body) else {
        return;
    };
    let Some(Body::Elements(_, list)) = fields.last_mut().map(|field| &mut field.body) else {
        return;
    };
    let Some(Body::Elements(_, list)) = list.first_mut().map(|list| &mut list.body) else {
        return;
    };
    // Instead of the one of that kind, or beside it.
    let same = |node: &Node| node.inside().first() == extension.inside().first();
    match list.iter().position(same).filter(|_| flags & 4 == 0) {
        Some(at) => list[at] = extension,
        None => list.push(extension),
    }
}

fn donated(donors: &[&[u8]], input: &mut Cursor<'_>) -> Option<Node> {
    let donor = donors.get(usize::from(input.byte()).checked_rem(donors.len())?)?;
    let mut nodes = parse(donor)?;
    let paths = paths(&nodes);
    let path = paths.get(input.place(paths.len()))?;
    Some(at(&mut nodes, path).clone())
}

/// The way to every element, from outside to inside.
fn paths(nodes: &[Node]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        all.push(vec![index]);
        for mut path in paths(node.inside()) {
            path.insert(0, index);
            all.push(path);
        }
    }
    all
}

fn at<'a>(nodes: &'a mut [Node], path: &[usize]) -> &'a mut Node {
    let (first, rest) = path.split_first().expect("a path has a step");
    let node = &mut nodes[*first];
    if rest.is_empty() {
        return node;
    }
    match &mut node.body {
        Body::Elements(_, inside) => at(inside, rest),
        _ => unreachable!("a path leads through elements"),
    }
}

/// Does something to the list that an element stands in.
fn beside<T>(
    nodes: &mut Vec<Node>,
    path: &[usize],
    change: impl FnOnce(&mut Vec<Node>, usize) -> T,
) -> T {
    let (last, above) = path.split_last().expect("a path has a step");
    if above.is_empty() {
        return change(nodes, *last);
    }
    match &mut at(nodes, above).body {
        Body::Elements(_, inside) => change(inside, *last),
        _ => unreachable!("a path leads through elements"),
    }
}
