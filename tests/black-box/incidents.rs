//! The commands of docs/incidents.md, in a factory as docs/factory.md sets it up.

use crate::walk::{Walk, commands};

const FACTORY: &str = include_str!("../../docs/factory.md");
const PAGE: &str = include_str!("../../docs/incidents.md");

#[test]
fn the_page_about_incidents_does_what_it_says() {
    let (set_up, _) = FACTORY
        .split_once("## Rotating an intermediate")
        .expect("the page has that part");
    let walk = Walk::new();
    let set_up = commands(set_up);
    walk.run(&set_up, &[]);
    let run = "./host by-press-4.wasm --crl lists.pem || test $? = 115";
    // Each part of the page by itself, and what a host says of the signer that it is about.
    let (device, authority) = PAGE
        .split_once("## An authority below the root")
        .expect("the page has that part");
    let mut lines = commands(device);
    lines.push(run);
    let ran = walk.run(&lines, &[]);
    let refused = "by-press-4.wasm was refused: revoked";
    assert!(ran.stderr.contains(refused), "{ran:?}");

    let walk = Walk::new();
    walk.run(&set_up, &[]);
    let mut lines = commands(authority);
    lines.push(run);
    let ran = walk.run(&lines, &[]);
    assert!(ran.stderr.contains(refused), "{ran:?}");
    // The successor issues.
    let shown = walk.run(&["countersign-ca show"], &[]);
    assert!(shown.stdout.contains("acme-devices-2"), "{shown:?}");
}
