//! The operator's page in a browser.

use std::fs;
use std::path::PathBuf;

use base64ct::{Base64, Encoding as _};
use serde_json::json;

use crate::bench::Bench;
use crate::browser::{Browser, CONTRAST, PHONE};

const PASSWORD: &str = "correct horse battery staple";

/// Where pictures of the page are put, if anybody wants to look at them.
const PICTURES: &str = "COUNTERSIGN_PICTURES";

/// A family that is a script, and as long as one may be.
const HOSTILE: &str = "<script>document.title='x'</script><img src=x onerror=alert(1)>";

#[test]
fn tg10_the_page_shows_everything_changes_nothing_and_runs_no_strangers_script() {
    let bench = Bench::new();
    let hash = bench.hash(PASSWORD);
    bench.configure(|text| {
        format!("{text}\n[page]\npassword = \"{hash}\"\n")
            .replace("requests_per_minute = 600", "requests_per_minute = 600000")
            .replace("days = 365", "days = 9")
    });
    let long = "x".repeat(64);
    bench.approve(&["press-1", "press-2", "oven-1", &long]);
    let token = bench.token(&["--device", "press-1"]);
    let approver = bench.token(&["--device", "*", "--may", "approve"]);
    let server = bench.serve();
    bench.request("press-1");
    let provision = |status: u16| {
        let bearer = format!("Authorization: Bearer {token}");
        let body = bench.provision_body("press-1");
        let json = "Content-Type: application/json";
        let sent = ["--header", &bearer, "--header", json, "--data", &body];
        assert_eq!(bench.curl("/api/v1/devices/provision", &sent).0, status);
    };
    provision(201);
    bench.request("press-1");
    provision(409);
    let bearer = format!("Authorization: Bearer {approver}");
    let body = json!({ "family": HOSTILE, "device_type": HOSTILE, "firmware_version": "\"'`&lt;" });
    let sent = [
        "--request",
        "PUT",
        "--header",
        &bearer,
        "--header",
        "Content-Type: application/json",
        "--data",
        &body.to_string(),
    ];
    assert_eq!(bench.curl("/api/v1/devices/hostile-1", &sent).0, 204);

    let browser = Browser::start(bench.folder());
    let open = |path: &str| browser.open(&format!("https://localhost:{}{path}", bench.port()));
    // A stranger sees the form, and a wrong password leads nowhere.
    open("/page/devices");
    assert!(browser.address().ends_with("/page/login"));
    assert_eq!(
        browser.run("return document.querySelectorAll('label input').length"),
        1
    );
    picture(&browser, "login");
    browser.fill_in("input", "not the password");
    assert!(browser.text().contains("That is not the password."));
    browser.fill_in("input", PASSWORD);
    assert!(
        browser.address().ends_with("/page"),
        "{}",
        browser.address()
    );

    // What is there, what ends soon, and the chart.
    let text = browser.text();
    for shown in [
        "press-1",
        "in 8 days",
        "1 issued and 1 refused",
        "localhost/audit",
        "approved",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    let bars = "return [...document.querySelectorAll('svg rect')].filter(r => r.getBoundingClientRect().height > 1).length";
    assert_eq!(browser.run(bars), 2, "one bar up and one down");
    let colour = "return getComputedStyle(document.querySelector('svg rect.issued')).fill";
    assert_ne!(
        browser.run(colour),
        "rgb(0, 0, 0)",
        "the style is not refused"
    );

    // Search and filter.
    let listed = |address: &str| {
        open(address);
        let rows =
            "return [...document.querySelectorAll('tbody a')].map(a => a.textContent).join()";
        browser.run(rows).as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(listed("/page/devices?search=press-"), "press-1,press-2");
    assert_eq!(listed("/page/devices?search=press-2"), "press-2");
    assert_eq!(listed("/page/devices?search=%00"), "");
    assert_eq!(listed("/page/devices?family=press&search=oven"), "oven-1");
    assert_eq!(listed("/page/devices?family=%00"), "");
    open("/page/devices");
    browser.fill_in("[name=search]", "oven");
    let text = browser.text();
    assert!(
        text.contains("oven-1") && !text.contains("press-1"),
        "{text}"
    );

    // Nothing that a stranger wrote runs, and it is shown as it was written.
    let query =
        "/page/devices?search=%22%3E%3Cscript%3Edocument.title%3D1%3C/script%3E&family=%3Cb%3E";
    for address in ["/page/devices", "/page/devices/hostile-1", query] {
        open(address);
        assert_eq!(
            browser.run("return document.querySelectorAll('script, img, b').length"),
            0,
            "{address}"
        );
        let title = browser.run("return document.title");
        assert!(
            title
                .as_str()
                .is_some_and(|title| title.contains("Countersign")),
            "{title}"
        );
    }
    open("/page/devices/hostile-1");
    assert!(browser.text().contains(HOSTILE), "{}", browser.text());

    // At any width, without a form that changes anything, and with a name for every field.
    let pages = [
        "/page",
        "/page/devices",
        "/page/devices/press-1",
        "/page/devices/hostile-1",
        "/docs",
    ];
    for (width, height) in [(1280, 900), (PHONE, 740)] {
        browser.resize(width, height);
        for address in pages {
            open(address);
            let wide = browser.run("return document.documentElement.scrollWidth");
            assert!(
                wide.as_u64().is_some_and(|wide| wide <= width),
                "{address} is {wide} wide of {width}"
            );
            assert_eq!(
                browser.run("return document.querySelectorAll('form:not([method=get])').length"),
                0
            );
            let nameless = "return [...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length";
            assert_eq!(browser.run(nameless), 0, "{address}");
            picture(&browser, &format!("{}-{width}", address.replace('/', "_")));
        }
    }
    for width in ["light", "dark"] {
        browser.prefer(width);
        open("/page");
        let contrast = browser.run(CONTRAST);
        assert!(
            contrast.as_f64().is_some_and(|least| least >= 4.5),
            "{width}: {contrast}"
        );
    }

    // The visit ends.
    open("/page/logout");
    open("/page");
    assert!(browser.address().ends_with("/page/login"));
    drop(browser);
    assert!(server.stop());
}

/// Keeps a picture of the whole page, where somebody asked for them.
fn picture(browser: &Browser, name: &str) {
    let Some(folder) = std::env::var_os(PICTURES) else {
        return;
    };
    let whole = json!({ "captureBeyondViewport": true });
    let picture = browser.devtools("Page.captureScreenshot", &whole);
    let picture = Base64::decode_vec(picture["data"].as_str().expect("a picture"));
    let path = PathBuf::from(folder).join(format!("{name}.png"));
    fs::write(path, picture.expect("base64")).expect("written");
}
