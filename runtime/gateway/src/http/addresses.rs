//! How many connections there are, and how many an address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::lock;

/// The connections of one listener.
#[derive(Clone)]
pub(super) struct Addresses {
    most: usize,
    most_of_one: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A connection that is counted until this goes.
pub(super) struct Counted {
    address: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Addresses {
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            most,
            most_of_one,
            open: Arc::default(),
        }
    }

    /// Counts one more connection; none where there are as many as there may be.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Counted> {
        let address = one_client(address);
        let mut open = lock(&self.open);
        if open.all >= self.most {
            return None;
        }
        let count = open.of.entry(address).or_default();
        if *count >= self.most_of_one {
            return None;
        }
        *count = count.saturating_add(1);
        open.all = open.all.saturating_add(1);
        Some(Counted {
            address,
            open: Arc::clone(&self.open),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all = open.all.saturating_sub(1);
        if let Some(count) = open.of.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.of.remove(&self.address);
            }
        }
    }
}

/// Of IPv6 the first 64 bits: one household or machine has all addresses below them.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th14_connections_are_counted_together_and_for_each_address() {
        let addresses = Addresses::new(4, 2);
        let enter = |text: &str| addresses.enter(text.parse().expect("an address"));
        let first = enter("192.0.2.1").expect("room");
        let _second = enter("::ffff:192.0.2.1").expect("room");
        assert!(enter("192.0.2.1").is_none());
        let _held = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(enter("2001:db8::3").is_none() && enter("192.0.2.2").is_none());
        drop(first);
        let _third = enter("192.0.2.2").expect("room again");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let addresses = Addresses::new(2, 2);
        drop(addresses.enter("192.0.2.1".parse().expect("an address")));
        let open = lock(&addresses.open);
        assert!(open.of.is_empty() && open.all == 0);
    }
}
