//! Encoded values as trees, to take out, repeat, exchange and graft their parts, with every length above put right.

use super::der::tlv;
use crate::random::Random;

/// An element. What is in an OCTET STRING or a BIT STRING is opened too where it is a whole value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    tag: u8,
    /// What stands before the children of a string: the octet that counts unused bits.
    prefix: Vec<u8>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Octets(Vec<u8>),
    Children(Vec<Node>),
}

impl Node {
    /// Reads one value, if it is well formed as far as this looks.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (node, rest) = Self::read_one(octets, 0)?;
        rest.is_empty().then_some(node)
    }

    fn read_one(octets: &[u8], depth: usize) -> Option<(Self, &[u8])> {
        let (&tag, rest) = octets.split_first()?;
        if tag & 0x1f == 0x1f || depth > 20 {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = octets
                    .iter()
                    .fold(0_usize, |length, octet| length << 8 | usize::from(*octet));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole =
            |content: &[u8]| Self::read(content).filter(|_| depth < 12 && content.len() > 1);
        let (prefix, body) = match tag {
            tag if tag & 0x20 != 0 => (Vec::new(), Body::Children(Self::read_all(content, depth)?)),
            4 => match whole(content) {
                Some(inner) => (Vec::new(), Body::Children(vec![inner])),
                None => (Vec::new(), Body::Octets(content.to_vec())),
            },
            _ => (Vec::new(), Body::Octets(content.to_vec())),
        };
        Some((Self { tag, prefix, body }, rest))
    }

    fn read_all(mut octets: &[u8], depth: usize) -> Option<Vec<Self>> {
        let mut found = Vec::new();
        while !octets.is_empty() {
            let (node, rest) = Self::read_one(octets, depth + 1)?;
            found.push(node);
            octets = rest;
        }
        Some(found)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let content = match &self.body {
            Body::Octets(octets) => octets.clone(),
            Body::Children(children) => children.iter().flat_map(Self::write).collect(),
        };
        tlv(self.tag, &[self.prefix.as_slice(), &content].concat())
    }

    /// The number of elements, this one among them.
    fn count(&self) -> usize {
        match &self.body {
            Body::Octets(_) => 1,
            Body::Children(children) => 1 + children.iter().map(Self::count).sum::<usize>(),
        }
    }

    /// The element of this number, counted in the order in which they are written.
    fn get(&self, number: usize) -> Option<&Self> {
        if number == 0 {
            return Some(self);
        }
        let Body::Children(children) = &self.body else {
            return None;
        };
        let mut left = number - 1;
        for child in children {
            let count = child.count();
            if left < count {
                return child.get(left);
            }
            left -= count;
        }
        None
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Self> {
        if number == 0 {
            return Some(self);
        }
        let Body::Children(children) = &mut self.body else {
            return None;
        };
        let mut left = number - 1;
        for child in children {
            let count = child.count();
            if left < count {
                return child.get_mut(left);
            }
            left -= count;
        }
        None
    }

    /// Any of its elements.
    pub(super) fn any(&self, random: &mut Random) -> Self {
        self.get(random.below(self.count())).unwrap_or(self).clone()
    }

    /// Changes one element, which may be grafted from elsewhere.
    pub(super) fn change(&mut self, graft: &Self, random: &mut Random) {
        let at = random.below(self.count());
        let Some(node) = self.get_mut(at) else { return };
        match (random.below(8), &mut node.body) {
            (0, _) => *node = graft.clone(),
            (1, _) => node.tag ^= 1 << random.below(6),
            (2, Body::Children(children)) if !children.is_empty() => {
                let at = random.below(children.len());
                children.remove(at);
            }
            (3, Body::Children(children)) if !children.is_empty() => {
                let again = random.of(children).clone();
                children.insert(random.below(children.len() + 1), again);
            }
            (4, Body::Children(children)) if children.len() > 1 => {
                let (one, other) = (random.below(children.len()), random.below(children.len()));
                children.swap(one, other);
            }
            (5, Body::Children(children)) => {
                children.insert(random.below(children.len() + 1), graft.clone());
            }
            (_, Body::Octets(octets)) => change_octets(octets, random),
            (_, Body::Children(_)) => {
                // One level deeper there is always something.
                let child = random.below(node.count());
                if let Some(Self {
                    body: Body::Octets(octets),
                    ..
                }) = node.get_mut(child)
                {
                    change_octets(octets, random);
                }
            }
        }
    }
}

fn change_octets(octets: &mut Vec<u8>, random: &mut Random) {
    match random.below(5) {
        0 => octets.push(random.octet()),
        1 if !octets.is_empty() => octets.truncate(random.below(octets.len())),
        2 => octets.insert(0, *random.of(&[0, 0x80, 0xff])),
        _ if !octets.is_empty() => {
            let at = random.below(octets.len());
            octets[at] ^= 1 << random.below(8);
        }
        _ => {}
    }
}
