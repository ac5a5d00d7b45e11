//! DER as a tree: a reader and writer of its own, for changing one thing in a certificate with every length around it
//! set right, and for looking at what was accepted without the code that accepted it.

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The identifier octet.
    pub tag: u8,
    /// What it holds.
    pub body: Body,
    /// Whether its length is written longer than it need be, which DER forbids.
    pub is_padded: bool,
}

/// The content of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Octets.
    Octets(Vec<u8>),
    /// Elements; for an OCTET STRING or a BIT STRING that holds DER, behind the octets given.
    Elements(Vec<u8>, Vec<Node>),
    /// Instead of a whole element: these octets as they are.
    Bare(Vec<u8>),
}

/// Deeper than any certificate nests.
const MAX_DEPTH: usize = 16;

impl Node {
    /// An element of octets.
    pub fn octets(tag: u8, octets: &[u8]) -> Self {
        Self::with(tag, Body::Octets(octets.to_vec()))
    }

    /// An element of elements.
    pub fn elements(tag: u8, elements: Vec<Self>) -> Self {
        Self::with(tag, Body::Elements(Vec::new(), elements))
    }

    fn with(tag: u8, body: Body) -> Self {
        Self {
            tag,
            body,
            is_padded: false,
        }
    }

    /// The elements inside; none if it holds octets.
    pub fn inside(&self) -> &[Self] {
        match &self.body {
            Body::Elements(_, nodes) => nodes,
            _ => &[],
        }
    }

    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        let content = self.content();
        if matches!(self.body, Body::Bare(_)) {
            return content;
        }
        let size = content.len().to_be_bytes();
        let mut size: Vec<u8> = size.into_iter().skip_while(|octet| *octet == 0).collect();
        if self.is_padded {
            size.insert(0, 0);
        }
        let mut bytes = vec![self.tag];
        match size.as_slice() {
            [] => bytes.push(0),
            [short] if *short < 0x80 => bytes.push(*short),
            long => {
                bytes.push(0x80 | u8::try_from(long.len()).expect("a length fits eight octets"));
                bytes.extend(long);
            }
        }
        bytes.extend(content);
        bytes
    }

    /// The content octets.
    pub fn content(&self) -> Vec<u8> {
        match &self.body {
            Body::Octets(octets) | Body::Bare(octets) => octets.clone(),
            Body::Elements(before, nodes) => [before.clone(), encode(nodes)].concat(),
        }
    }
}

/// The encoding of elements, one after the other.
pub fn encode(nodes: &[Node]) -> Vec<u8> {
    nodes.iter().flat_map(Node::encode).collect()
}

/// Reads elements, one after the other, to the end.
pub fn parse(bytes: &[u8]) -> Option<Vec<Node>> {
    parse_to_depth(bytes, MAX_DEPTH)
}

/// Reads one element and nothing behind it.
pub fn parse_one(bytes: &[u8]) -> Option<Node> {
    let mut nodes = parse(bytes)?;
    (nodes.len() == 1).then(|| nodes.remove(0))
}

fn parse_to_depth(mut bytes: &[u8], depth: usize) -> Option<Vec<Node>> {
    let depth = depth.checked_sub(1)?;
    let mut nodes = Vec::new();
    while let Some((&tag, rest)) = bytes.split_first() {
        // Identifiers of more than one octet do not occur.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (content, after) = split(rest)?;
        bytes = after;
        let hidden = match (tag, content) {
            (0x04, inner) => Some((&[][..], inner)),
            (0x03, [0, inner @ ..]) => Some((&[0][..], inner)),
            _ => None,
        };
        let body = if tag & 0x20 != 0 {
            Body::Elements(Vec::new(), parse_to_depth(content, depth)?)
        } else {
            hidden
                .and_then(|(before, inner)| {
                    let nodes = parse_to_depth(inner, depth).filter(|nodes| !nodes.is_empty())?;
                    Some(Body::Elements(before.to_vec(), nodes))
                })
                .unwrap_or_else(|| Body::Octets(content.to_vec()))
        };
        nodes.push(Node::with(tag, body));
    }
    Some(nodes)
}

/// Splits what follows a tag into content and rest. The length is in its shortest form or it is none.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return rest.split_at_checked(first.into());
    }
    let (size, rest) = rest.split_at_checked((first & 0x7f).into())?;
    if size.is_empty() || size.len() > 4 || size[0] == 0 || (size.len() == 1 && size[0] < 0x80) {
        return None;
    }
    let size = size
        .iter()
        .fold(0_usize, |size, octet| size << 8 | usize::from(*octet));
    rest.split_at_checked(size)
}
