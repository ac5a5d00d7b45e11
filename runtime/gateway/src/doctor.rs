//! `doctor`: what is wrong with this machine, its configuration and what they trust, or soon will be; and what to do.
//!
//! It looks and changes nothing, whether a gateway runs or not. What it refuses keeps a gateway from starting, or a component.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_hosting::{LogPlace, printable};
use countersign_keys::KeyUri;
use countersign_trust_store::UnixTime;
use rustix::fs::statvfs;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::admission::Facts;
use crate::clock::Clock;
use crate::config::Config;
use crate::confine::Confinement;
use crate::control::{self, Question};
use crate::finding::{Finding, Weight};
use crate::gateway::{NotStarted, roots};
use crate::lists::Given;
use crate::overview::out;
use crate::state::Guard;
use crate::{bundle, check, own, records, state};

/// How long before its end a certificate or a root is told of, and a list.
const CERTIFICATE_SOON: Duration = Duration::from_secs(30 * 86_400);
const LIST_SOON: Duration = Duration::from_secs(7 * 86_400);

/// Less room than this keeps a gateway from remembering, and less than this is soon less than that (64 MiB, 256 MiB).
const ROOM: u64 = 64 << 20;
const LITTLE_ROOM: u64 = 256 << 20;

/// Where the kernel keeps several programs at one TPM apart, and what to do where it cannot be opened.
const TPM: &str = "/dev/tpmrm0";
const TPM_NEXT: &str = "Switch the TPM on in the firmware, and make the gateway's user a member of the device's group (tss).";
const BUILD_NEXT: &str = "Install the package, or build with --features tpm (libtss2-dev).";
const BUS_NEXT: &str =
    "Switch the bus on, and make the gateway's user a member of the device's group (i2c).";

/// Usage or configuration.
const MISUSED: u8 = 2;

#[derive(Serialize)]
struct Findings<'a> {
    version: u32,
    findings: &'a [Finding],
}

/// Looks at everything and prints what was found. The exit status is 0, also with warnings; else 2.
pub(crate) fn doctor(path: &Path, json: bool) -> u8 {
    let findings = look(path);
    if json {
        let all = Findings {
            version: 1,
            findings: &findings,
        };
        out(&serde_json::to_string(&all).unwrap_or_default());
    } else {
        for finding in &findings {
            let word = match finding.weight {
                Weight::Ok => "ok",
                Weight::Warn => "warn",
                Weight::Refuse => "refuse",
            };
            let (what, said) = (printable(&finding.what), printable(&finding.said));
            out(&format!("{word:<7} {what}: {said}"));
            if let Some(next) = &finding.next {
                out(&format!("        next: {}", printable(next)));
            }
        }
    }
    let worst = findings.iter().map(|finding| finding.weight).max();
    if worst == Some(Weight::Refuse) {
        MISUSED
    } else {
        0
    }
}

fn look(path: &Path) -> Vec<Finding> {
    let mut findings = vec![this_build(), program_roots()];
    let config = match bundle::configured(path) {
        Ok(config) => config,
        Err(error) => {
            findings.push(Finding::refuse(
                "the configuration",
                format!("{error:#}"),
                "Correct what the message names; `countersign-gateway schema` says what may be written.",
            ));
            return findings;
        }
    };
    // What is looked at belongs to the gateway's user, and who else looks would be told to give it away.
    if let Some(finding) = own::another_user(&config.state) {
        findings.push(finding);
        return findings;
    }
    match own::look(path, &config) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(unseen("this process", &error)),
    }
    findings.push(own::storage(&config.state));
    findings.push(room(&config.state));
    findings.extend(devices(&config));
    let counter = config.counter.as_ref().map(Guard::open).transpose();
    let memory = counter.and_then(|counter| {
        let memory = state::peek(&config.state, counter.as_ref())?;
        config.is_whole()?;
        Ok(memory)
    });
    match memory {
        Ok(memory) => {
            findings.push(Finding::ok(
                "what is remembered",
                format!("{} is whole", config.state.display()),
            ));
            findings.push(clock(&Clock::start(memory.floor())));
        }
        Err(error) => findings.push(Finding::refuse(
            "what is remembered",
            format!("{error:#}"),
            "Without it nothing runs.",
        )),
    }
    findings.push(recorded(&config));
    findings.extend(reserved(&config.records()));
    findings.extend(lists(&config));
    match check::verdicts(&config) {
        Ok(verdicts) => findings.extend(verdicts.into_iter().map(|verdict| {
            let what = format!("service {}", verdict.name);
            match (verdict.facts, verdict.refused) {
                (Some(facts), None) => component(&what, &facts),
                (_, Some(refused)) => Finding::refuse(&what, refused.why, refused.next),
                (None, None) => Finding::ok(&what, "nothing is known of it"),
            }
        })),
        // Which was said already.
        Err(NotStarted::Refused(..)) => {}
        Err(NotStarted::Misused(error)) => findings.push(unseen("the components", &error)),
    }
    findings.extend(running(&config));
    findings
}

fn unseen(what: &str, error: &anyhow::Error) -> Finding {
    Finding::refuse(
        what,
        format!("{error:#}"),
        "Correct what the message names.",
    )
}

/// Whether the gateway can go on with its records. Whether each is what was written, `audit verify` says.
fn recorded(config: &Config) -> Finding {
    let what = "records";
    match records::newest(config) {
        Ok(None) => Finding::ok(what, "none yet"),
        Ok(Some(checkpoint)) => {
            Finding::ok(what, format!("{} of them, signed for", checkpoint.size()))
        }
        Err(error) => Finding::refuse(
            what,
            format!("{error:#}"),
            "Do what the message says; `countersign-gateway audit verify` says more.",
        ),
    }
}

/// Whether there is room for records of anything new; nothing where no gateway has run yet.
fn reserved(place: &LogPlace) -> Option<Finding> {
    let free = statvfs(&place.folder).ok()?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    Some(reserved_of(place.has_reserve(), free, &place.folder))
}

fn reserved_of(is_kept: bool, free: u64, folder: &Path) -> Finding {
    let what = "room for records";
    if is_kept {
        return Finding::ok(what, "some is kept free for the last of them");
    }
    let said = "what is kept free for the last of them is not there: without it nothing new is started, and nothing is signed";
    if free >= ROOM {
        let next = "There is room now, which a gateway takes when it starts, or within a minute. If it does not, its journal says why.";
        return Finding::warn(what, said, next);
    }
    let next = format!(
        "Make room on the disk of {}; a gateway that runs takes its part of it within a minute.",
        folder.display()
    );
    Finding::refuse(what, said, next)
}

/// What was built in, and what was not: the packager looks whether it packs a gateway for keys in TPMs.
fn this_build() -> Finding {
    let keys = match cfg!(feature = "tpm") {
        true => "keys in files, PKCS#11 tokens, ATECC608s and TPMs",
        false => "keys in files, PKCS#11 tokens and ATECC608s, none in TPMs",
    };
    let code = match cfg!(feature = "compiler") {
        true => "compiles components",
        false => "runs what was compiled elsewhere",
    };
    Finding::ok("this build", format!("{keys}; {code}"))
}

fn program_roots() -> Finding {
    let what = "roots";
    match roots() {
        Ok(anchors) => {
            let ends = anchors.iter().map(|anchor| anchor.not_after()).min();
            let count = anchors.iter().count();
            let said = format!("{count} compiled in");
            match ends {
                Some(end) => until(
                    what,
                    &said,
                    end,
                    CERTIFICATE_SOON,
                    "Build or fill in the next root in time.",
                ),
                None => Finding::ok(what, said),
            }
        }
        Err(NotStarted::Refused(code, why)) => Finding::refuse(what, why, code.next_step()),
        Err(NotStarted::Misused(error)) => unseen(what, &error),
    }
}

/// That something lasts, or not for long.
fn until(what: &str, said: &str, end: UnixTime, soon: Duration, next: &str) -> Finding {
    let now = countersign_roots::system_time();
    let said = format!("{said}, until {end}");
    if end < now {
        Finding::refuse(
            what,
            format!("{said}, which has passed by this machine's clock"),
            next,
        )
    } else if end < now.saturating_add(soon) {
        Finding::warn(what, format!("{said}, which is soon"), next)
    } else {
        Finding::ok(what, said)
    }
}

fn room(state: &Path) -> Finding {
    let what = "room";
    let Ok(disk) = statvfs(state) else {
        return Finding::refuse(
            what,
            format!("{} cannot be looked at", state.display()),
            "Make it with `countersign-gateway init`, or look as its user or root.",
        );
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let said = format!("{} MiB are free beside {}", free >> 20, state.display());
    let next = "Make room: what must not come back has to be written down.";
    match free {
        0..ROOM => Finding::refuse(what, said, next),
        ROOM..LITTLE_ROOM => Finding::warn(what, said, next),
        _ => Finding::ok(what, said),
    }
}

/// The hardware of the keys that the configuration names.
fn devices(config: &Config) -> Vec<Finding> {
    let mut paths = BTreeMap::new();
    let mut missing = None;
    for key in config.known.keys.values() {
        match &key.source.uri {
            KeyUri::Tpm(_) if cfg!(not(feature = "tpm")) => {
                let said = "the configuration names a key in one, and this build knows none";
                missing = Some(Finding::refuse("TPM", said, BUILD_NEXT));
            }
            // A way of its own leads to another TPM.
            KeyUri::Tpm(key) if key.tcti().is_none() => {
                paths.insert(PathBuf::from(TPM), ("TPM", TPM_NEXT));
            }
            KeyUri::Atecc608(key) => {
                paths.insert(key.bus().to_owned(), ("ATECC608", BUS_NEXT));
            }
            _ => {}
        }
    }
    let look = |(path, (what, next)): (PathBuf, (&str, &str))| {
        let shown = path.display();
        match File::options().read(true).write(true).open(&path) {
            Ok(_) => Finding::ok(what, format!("{shown} can be opened")),
            Err(error) => Finding::refuse(what, format!("{shown}: {error}"), next),
        }
    };
    paths.into_iter().map(look).chain(missing).collect()
}

fn clock(clock: &Clock) -> Finding {
    let what = "clock";
    match clock.now().clock() {
        Some(now) => Finding::ok(what, format!("{now}")),
        None => Finding::warn(
            what,
            format!(
                "it says {}, though {} has certainly passed; components are judged by that",
                countersign_roots::system_time(),
                clock.floor()
            ),
            "Set it, or have it set by a time server or a receiver.",
        ),
    }
}

fn lists(config: &Config) -> Vec<Finding> {
    let what = "revocation lists";
    let lists = match Given::by(config) {
        Ok(lists) => lists,
        Err(error) => return vec![unseen(what, &error)],
    };
    if lists.all().is_empty() {
        return vec![Finding::warn(
            what,
            "the configuration names none",
            "Name them in [gateway] lists, unless they are compiled in.",
        )];
    }
    let one = |list: &countersign_trust_store::Crl| {
        let said = format!("number {} of {}", list.number(), list.issuer());
        let next = "Bring a newer one before: without it nothing new is admitted.";
        until(what, &said, list.next_update(), LIST_SOON, next)
    };
    lists.newest().map(one).collect()
}

fn component(what: &str, facts: &Facts) -> Finding {
    let said = format!(
        "{} {}, signed by {}",
        facts.component,
        facts.version,
        facts.signers.join(" and ")
    );
    match facts.valid_until.parse::<UnixTime>() {
        Ok(end) => {
            let next = "Have it signed anew before, with a certificate that lasts longer.";
            let mut finding = until(what, &said, end, CERTIFICATE_SOON, next);
            // It was admitted all the same.
            finding.weight = finding.weight.min(Weight::Warn);
            finding
        }
        Err(_) => Finding::ok(what, said),
    }
}

/// What a running gateway says of itself.
fn running(config: &Config) -> Vec<Finding> {
    let what = "the running gateway";
    let answer = match control::ask(&config.control, &Question::Status) {
        Ok(answer) => answer,
        Err(error) => {
            let next = "Start it, unless that is what you are about to do.";
            return vec![Finding::warn(what, format!("{error:#}"), next)];
        }
    };
    let mut findings = match answer.get("confinement").map(Confinement::deserialize) {
        Some(Ok(confinement)) => confinement.findings(what),
        _ => vec![Finding::warn(
            what,
            "it does not say how far it is confined",
            "Restart it, so that it and this program are of one version.",
        )],
    };
    if answer.pointer("/confinement/root").and_then(Value::as_bool) == Some(true) {
        findings.push(Finding::root(what));
    }
    let services = answer.get("services").and_then(Value::as_array);
    for service in services.into_iter().flatten() {
        if service.get("state").and_then(Value::as_str) == Some("refused") {
            let of = |key| service.get(key).and_then(Value::as_str).unwrap_or_default();
            let said = format!("{} was refused: {}", of("name"), of("why"));
            findings.push(Finding::refuse(what, said, of("next")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use countersign_hosting::AuditLog;

    use super::*;

    #[test]
    fn th15_where_there_is_no_room_for_records_it_is_found_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = LogPlace {
            folder: folder.path().join("audit"),
            key: folder.path().join("audit.key"),
        };
        assert_eq!(reserved(&place), None, "no gateway has run");
        drop(AuditLog::open_kept(&place).expect("opens"));
        let found = |place| reserved(place).map(|finding| finding.weight);
        assert_eq!(found(&place), Some(Weight::Ok));
        // It is given when the disk is full.
        std::fs::remove_file(folder.path().join("audit.reserve")).expect("there");
        assert_ne!(found(&place), Some(Weight::Ok));
        for (free, weight) in [(0, Weight::Refuse), (ROOM, Weight::Warn)] {
            let finding = reserved_of(false, free, &place.folder);
            assert_eq!(finding.weight, weight);
            assert!(finding.said.contains("nothing is signed"), "{finding:?}");
            assert!(finding.next.is_some());
        }
    }
}
