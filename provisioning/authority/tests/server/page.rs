//! The operator's page in a browser.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};

use crate::bench::{Bench, Ran};

const PASSWORD: &str = "correct horse battery staple";

/// Where pictures of the page are put, if anybody wants to look at them.
const PICTURES: &str = "COUNTERSIGN_PICTURES";

/// The width of a small telephone.
const PHONE: u64 = 360;

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

    let browser = Browser::start(&bench);
    // A stranger sees the form, and a wrong password leads nowhere.
    browser.open("/page/devices");
    assert!(browser.address().ends_with("/page/login"));
    assert_eq!(
        browser.run("return document.querySelectorAll('label input').length"),
        1
    );
    browser.picture("login");
    browser.log_in("not the password");
    assert!(browser.text().contains("That is not the password."));
    browser.log_in(PASSWORD);
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
        browser.open(address);
        let rows =
            "return [...document.querySelectorAll('tbody a')].map(a => a.textContent).join()";
        browser.run(rows).as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(listed("/page/devices?search=press-"), "press-1,press-2");
    assert_eq!(listed("/page/devices?search=press-2"), "press-2");
    assert_eq!(listed("/page/devices?search=%00"), "");
    assert_eq!(listed("/page/devices?family=press&search=oven"), "oven-1");
    assert_eq!(listed("/page/devices?family=%00"), "");
    browser.open("/page/devices");
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
        browser.open(address);
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
    browser.open("/page/devices/hostile-1");
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
            browser.open(address);
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
            browser.picture(&format!("{}-{width}", address.replace('/', "_")));
        }
    }
    for width in ["light", "dark"] {
        browser.prefer(width);
        browser.open("/page");
        let contrast = browser.run(CONTRAST);
        assert!(
            contrast.as_f64().is_some_and(|least| least >= 4.5),
            "{width}: {contrast}"
        );
    }

    // The visit ends.
    browser.open("/page/logout");
    browser.open("/page");
    assert!(browser.address().ends_with("/page/login"));
    drop(browser);
    assert!(server.stop());
}

/// The least contrast of text with what is behind it (WCAG 2.2, 1.4.3).
const CONTRAST: &str = "
    const channels = c => (c.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => { const f = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const behind = e => { let all = []; for (; e; e = e.parentElement) all.unshift(channels(getComputedStyle(e).backgroundColor));
        return all.reduce((under, [r, g, b, a = 1]) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a)), dark ? [18, 18, 18] : [255, 255, 255]); };
    return Math.min(...[...document.querySelectorAll('h1,h2,p,a,th,td,li,summary,code,strong,figcaption,span')]
        .filter(e => e.textContent.trim())
        .map(e => { const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05); }));";

/// Chromium without a window, told what to do over WebDriver.
struct Browser<'a> {
    bench: &'a Bench,
    driver: Child,
    port: u16,
    session: String,
}

impl<'a> Browser<'a> {
    fn start(bench: &'a Bench) -> Self {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=WARNING"])
            .env("TMPDIR", bench.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs: apt-get install chromium chromium-driver");
        let output = driver.stdout.take().expect("piped");
        let port = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says its port");
        let mut browser = Self {
            bench,
            driver,
            port,
            session: String::new(),
        };
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--no-first-run", "--window-size=1280,900",
            ],
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options,
        } } });
        let made = browser.ask("/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// What the driver answers.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "60",
                "--data-binary",
                "@-",
            ])
            .args(["--header", "Content-Type: application/json"])
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .stdin(Stdio::from(self.written(body)))
            .output();
        let answer = Ran(output.expect("curl runs")).succeeded();
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{path} {body}: {value}");
        value
    }

    fn written(&self, body: &Value) -> fs::File {
        let path = self.bench.path("asked.json");
        fs::write(&path, body.to_string()).expect("written");
        fs::File::open(path).expect("written")
    }

    fn tell(&self, command: &str, body: &Value) -> Value {
        self.ask(&format!("/session/{}/{command}", self.session), body)
    }

    fn open(&self, path: &str) {
        let url = format!("https://localhost:{}{path}", self.bench.port());
        self.tell("url", &json!({ "url": url }));
    }

    fn run(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn text(&self) -> String {
        self.run("return document.body.innerText")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn address(&self) -> String {
        self.run("return location.href")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Fills a field in and presses the button, as a person does; what comes of it is there afterwards.
    fn fill_in(&self, field: &str, text: &str) {
        let element = |selector: &str| {
            let found = self.tell(
                "element",
                &json!({ "using": "css selector", "value": selector }),
            );
            let id = found
                .as_object()
                .and_then(|found| found.values().next())
                .and_then(Value::as_str);
            id.expect("an element").to_owned()
        };
        let field = element(field);
        self.tell(&format!("element/{field}/clear"), &json!({}));
        self.tell(&format!("element/{field}/value"), &json!({ "text": text }));
        self.tell(
            &format!("element/{}/click", element("form button")),
            &json!({}),
        );
    }

    fn log_in(&self, password: &str) {
        self.fill_in("input", password);
    }

    fn resize(&self, width: u64, height: u64) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.tell(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
    }

    fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES) else {
            return;
        };
        let whole = json!({ "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", &whole);
        let picture = Base64::decode_vec(picture["data"].as_str().expect("a picture"));
        let path = PathBuf::from(folder).join(format!("{name}.png"));
        fs::write(path, picture.expect("base64")).expect("written");
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // The browser goes with its session, and the driver by itself.
        let _ = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--request", "DELETE"])
            .arg(format!(
                "http://127.0.0.1:{}/session/{}",
                self.port, self.session
            ))
            .output();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
