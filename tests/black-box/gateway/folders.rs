//! What a component may put into a folder that it is lent.

use countersign_format::DirectoryGrant;

use super::*;

/// What the folder may hold, in blocks of 4 KiB.
const BLOCKS: u64 = 256;
const BLOCK: u64 = 4 << 10;

#[test]
fn te29_a_component_that_fills_its_folder_stops_at_its_bound_in_whichever_way() {
    let bench = Bench::new();
    let mut manifest = bench.pki.manifest("test:hoard");
    manifest.grants.args = true;
    manifest.grants.stdio.stdout = true;
    for guest in ["/bounded", "/other"] {
        manifest.grants.directories.push(DirectoryGrant {
            guest: guest.to_owned(),
            writable: true,
        });
    }
    let file = bench.pki.sign(&guest("hoard"), &manifest);
    fs::write(bench.path("hoard.wasm"), file).expect("our own folder");
    for folder in ["bounded", "bounded/before", "other"] {
        fs::create_dir(bench.path(folder)).expect("our own folder");
    }
    // A folder and two blocks: what was there before is there.
    let before = vec![1; 5_000];
    fs::write(bench.path("bounded/before/file"), &before).expect("our own folder");
    let free = BLOCKS - 3;
    let full = "insufficient-space";
    // A file has its first block when it has its name.
    let tried = [
        ("stream", free * BLOCK, full),
        ("append", free * BLOCK, full),
        ("waiting", free * BLOCK, full),
        ("zeroes", free * BLOCK, full),
        ("write", free * BLOCK, full),
        ("size", free * BLOCK, full),
        ("files", free, full),
        ("folders", free, full),
        ("links", free, full),
        // Beside the file itself.
        ("hard", free - 1, full),
        ("unnamed", free * BLOCK, full),
        ("renamed", free * BLOCK, full),
        // Beside two folders and a file.
        ("scattered", (free - 3) * BLOCK, full),
        ("across", 0, "cross-device"),
        // And once more, since it has removed what it made.
        ("stream", free * BLOCK, full),
    ];
    let ways = tried.map(|(way, _, _)| format!("{way:?}"));
    bench.configure(&[(
        "hoard",
        &format!(
            "{ONCE}\n[service.grants]\nargs = [{}]\n\
             directories = [{{ host = \"bounded\", guest = \"/bounded\", writable = true, most = \"{}KiB\" }}, \
             {{ host = \"other\", guest = \"/other\", writable = true }}]",
            ways.join(", "),
            (BLOCKS * BLOCK) >> 10
        ),
    )]);
    let gateway = bench.start();
    bench.until("hoard", is("ended"));
    let log = bench.log();
    let said: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("hoard: > ").map(|(_, said)| said))
        .collect();
    let expected = tried.map(|(way, came, why)| format!("{way}: {came}, {why}"));
    assert_eq!(said, expected, "{log}");
    assert_eq!(
        fs::read(bench.path("bounded/before/file")).expect("there"),
        before
    );
    let other = fs::read_dir(bench.path("other")).expect("readable");
    assert_eq!(other.count(), 0, "{log}");
    assert_eq!(gateway.stop(), 0);
}
