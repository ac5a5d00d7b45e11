//! Chromium without a window, told what to do over WebDriver.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long the browser may take for one thing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The width of a phone, in CSS pixels.
pub(crate) const PHONE: u64 = 360;

/// The least contrast of text with what is behind it (WCAG 2.2, 1.4.3).
pub(crate) const CONTRAST: &str = "
    const channels = color => (color.match(/[\\d.]+/g) || []).map(Number);
    const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ground = matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
    const behind = element => {
        const layers = [];
        for (let e = element; e; e = e.parentElement) layers.unshift(channels(getComputedStyle(e).backgroundColor));
        return layers.reduce((under, [r, g, b, a = 1]) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a)), ground);
    };
    const texts = [...document.querySelectorAll('h1,h2,h3,p,a,dt,dd,th,td,li,summary,code,strong,figcaption,span')].filter(e => e.textContent.trim());
    return Math.min(...texts.map(e => {
        const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }));";

/// A browser; it goes when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one whose profile lies in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=WARNING"])
            .env("TMPDIR", folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("apt-get install chromium chromium-driver");
        let said = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = said.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Self {
            driver,
            port: port.expect("chromedriver says its port"),
            session: String::new(),
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--window-size=1280,900",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": { "args": arguments },
        } } });
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    /// What a script in the page answers.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a person reads.
    pub(crate) fn text(&self) -> String {
        let text = self.run("return document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Where it is.
    pub(crate) fn address(&self) -> String {
        let address = self.run("return location.href");
        address.as_str().unwrap_or_default().to_owned()
    }

    /// Fills a field in and presses the form's button, as a person does; what comes of it is there afterwards.
    pub(crate) fn fill_in(&self, field: &str, text: &str) {
        let element = |selector: &str| {
            let wanted = json!({ "using": "css selector", "value": selector });
            let found = self.tell("element", &wanted);
            let id = found.as_object().and_then(|found| found.values().next());
            id.and_then(Value::as_str).expect("an element").to_owned()
        };
        let (field, button) = (element(field), element("form button"));
        self.tell(&format!("element/{field}/clear"), &json!({}));
        self.tell(&format!("element/{field}/value"), &json!({ "text": text }));
        self.run("window.isBefore = true");
        self.tell(&format!("element/{button}/click"), &json!({}));
        // The page that the form asks for, and no longer this one.
        let until = Instant::now() + PATIENCE;
        while self.run("return window.isBefore !== true && document.readyState == 'complete'")
            != true
        {
            assert!(Instant::now() < until, "the form was not answered");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the window so large.
    pub(crate) fn resize(&self, width: u64, height: u64) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Has the page in "light" or "dark" colours.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// What the browser's own tools answer.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let order = json!({ "cmd": command, "params": parameters });
        self.tell("goog/cdp/execute", &order)
    }

    fn tell(&self, command: &str, body: &Value) -> Value {
        self.ask(
            "POST",
            &format!("/session/{}/{command}", self.session),
            body,
        )
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let stream = self.send(method, path, &body).expect("the driver listens");
        // The driver does not end the connection by itself.
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().expect("a length");
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).expect("an answer");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{path} {body}: {value}");
        value
    }

    fn send(&self, method: &str, path: &str, body: &str) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        Ok(stream)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser goes with its session, also when a test failed, and the driver by itself.
        let session = format!("/session/{}", self.session);
        let _ = self
            .send("DELETE", &session, "{}")
            .and_then(|mut stream| stream.read(&mut [0; 1]));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
