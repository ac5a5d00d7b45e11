//! `countersign key` with keys in a TPM, where this build has the feature; where it has not, the programs say so, and the
//! rest of this file has nothing to show.

use countersign_testing::swtpm::Swtpm;

use super::bench::{Bench, Ran};

/// The program, in whose arguments KEY:NAME stands for that key of this TPM.
fn run(bench: &Bench, tpm: &Swtpm, line: &str) -> Ran {
    let tcti = tpm.tcti().to_string();
    bench.countersign(
        line.split_whitespace()
            .map(|word| match word.split_once(':') {
                Some(("KEY", name)) => format!("tpm:{name}?tcti={tcti}"),
                Some(("TPM", "")) => format!("tpm:?tcti={tcti}"),
                _ => word.to_owned(),
            }),
    )
}

#[test]
fn tf01_a_key_in_a_tpm_is_made_bound_replaced_and_removed_or_the_build_says_what_it_lacks() {
    let bench = Bench::new();
    let tpm = Swtpm::start();
    let made = run(&bench, &tpm, "key generate KEY:door --pcr 7,0,7 --json");
    if made.status != 0 {
        made.failed(
            2,
            &["this build has no TPM support: built without the feature tpm"],
        );
        assert!(bench.names().is_empty());
        return;
    }
    let made = made.json();
    assert_eq!(made["boot_state"], serde_json::json!([0, 7]));
    run(&bench, &tpm, "key generate KEY:door").failed(2, &["already"]);
    run(&bench, &tpm, "key generate KEY:ak --attestation").succeeded();
    let shown = run(&bench, &tpm, "key show KEY:ak --json")
        .succeeded()
        .json();
    assert_eq!(shown["usage"], "attestation");
    run(
        &bench,
        &tpm,
        "key csr KEY:door --device-id door-1 --output door.csr",
    )
    .succeeded();
    bench.openssl("req -in door.csr -verify -noout");
    // The next key is bound to the same registers.
    let rotated = run(&bench, &tpm, "key rotate KEY:door KEY:door-2 --json").succeeded();
    assert_eq!(
        rotated.json()["new"]["boot_state"],
        serde_json::json!([0, 7])
    );
    run(&bench, &tpm, "key delete KEY:door --yes").succeeded();
    let list = run(&bench, &tpm, "key list TPM: --json").succeeded().json();
    let names: Vec<&str> = list["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|key| key["key"].as_str())
        .collect();
    assert!(
        names.iter().any(|name| name.contains("door-2")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.starts_with("tpm:door?")),
        "{names:?}"
    );
}
