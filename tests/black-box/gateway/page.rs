//! The status page in a browser.

use std::net::SocketAddr;

use super::*;
use crate::browser::{Browser, CONTRAST, PHONE};

/// A file's name, as whoever brings a file may choose it.
const HOSTILE: &str = "<img src=x onerror=alert(1)><b>bold</b>";

#[test]
fn te28_the_status_page_says_what_runs_and_what_was_refused_on_any_screen() {
    let bench = Bench::new();
    bench.sign("pump", "endless-loop", 3);
    bench.configure(&[("pump", SOON)]);
    let text = fs::read_to_string(bench.path("gateway.toml")).expect("a configuration");
    bench.configure_with(&format!(
        "{text}\n[[service]]\nname = \"door\"\ncomponent = \"{HOSTILE}.wasm\"\nsigned-as = \"test:door\"\n"
    ));
    let address: SocketAddr = bench.serve_status();
    let gateway = bench.start();
    bench.until("pump", healthy);
    bench.until("door", is("refused"));
    let browser = Browser::start(bench.folder.path());
    let page = format!("http://{address}/");
    browser.open(&page);
    let text = browser.text();
    for expected in [
        "1 of 2 services were refused",
        "pump: runs",
        "test:pump 3.0.0",
        "signed by",
        "test-device",
        "signature good until",
        "door: refused: nothing of it runs",
        "why",
        HOSTILE,
        "what to do",
        "Revocation list of",
        "certainly past",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let count = |selector: &str| {
        browser.run(&format!(
            "return document.querySelectorAll({selector:?}).length"
        ))
    };
    // Nothing of the name is markup, nothing is a script, and nothing can be pressed.
    assert_eq!(count("img, b, script, iframe, link, form, button, a"), 0);
    assert_eq!(count("article.bad"), 1);
    assert_eq!(count("article.good"), 1);
    assert_eq!(browser.run("return document.title"), "Countersign gateway");
    assert_eq!(browser.run("return document.documentElement.lang"), "en");
    for (width, height) in [(1_280, 900), (PHONE, 740)] {
        browser.resize(width, height);
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().is_some_and(|wide| wide <= width),
            "{wide} of {width}"
        );
        let small = "return Math.min(...[...document.querySelectorAll('dt,dd,p,h3')].map(e => parseFloat(getComputedStyle(e).fontSize)))";
        let small = browser.run(small);
        assert!(small.as_f64().is_some_and(|size| size >= 14.0), "{small}");
    }
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        browser.open(&page);
        let contrast = browser.run(CONTRAST);
        assert!(
            contrast.as_f64().is_some_and(|least| least >= 4.5),
            "{scheme}: {contrast}"
        );
    }
    drop(browser);
    assert_eq!(gateway.stop(), 0);
}
