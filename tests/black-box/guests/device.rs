//! Guests that run with a device's key, and what they signed, judged in Python.

use crate::device::Device;
use crate::programs::{Ran, run};
use crate::python::python;

use super::host::HOST;

impl Device {
    /// Lends the key to a guest of guest-examples/ and runs it with these options.
    pub(crate) fn run(&self, guest: &str, options: &[&str]) -> Ran {
        let lend = [
            "--audit".to_owned(),
            "audit.jsonl".to_owned(),
            "--device-key".to_owned(),
            format!("telemetry={}", self.key()),
            "--device-chain".to_owned(),
            "telemetry=telemetry.chain.pem".to_owned(),
        ];
        let signed = HOST.sign(guest);
        let mut command = signed.command();
        command.args(lend).args(options);
        run(self.at_home(&mut command))
    }

    /// What the verifier in Python says of one line, with these options: its verdict, as JSON.
    pub(crate) fn judge_in_python(&self, line: &str, options: &[&str]) -> serde_json::Value {
        let file = self.path("signed.line");
        std::fs::write(&file, line).expect("a temporary folder takes files");
        let output = python(
            "verify_guest_data.py",
            &self.path("pki/root.pem"),
            options,
            &file,
        );
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}
