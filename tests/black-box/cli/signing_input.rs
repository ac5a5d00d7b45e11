//! Bad input to `countersign sign`: a clear error, the right status, and nothing left behind.

use std::fs;

use super::bench::COMPONENT;
use super::sign::ready;

#[test]
fn a_bad_manifest_is_refused_with_line_and_key() {
    let bench = ready();
    let sign = "sign app.wasm --key leaf.key --chain chain.pem";
    for (text, words) in [
        (
            "name = \"acme:pump\"\nversion = 1.2\n",
            &["component.toml", "2"][..],
        ),
        (
            "name = \"acme:pump\"\nversion = \"1.2.3\"\nsecurity-version = 4\ncolour = \"red\"\n",
            &["4", "colour"],
        ),
        (
            "name = \"Acme Pump\"\nversion = \"1.2.3\"\nsecurity-version = 4\n",
            &["1", "Acme Pump"],
        ),
        ("name = \n", &["component.toml", "1"]),
        ("", &["name"]),
    ] {
        bench.write("component.toml", text);
        bench.line(sign).failed(2, words);
        assert!(!bench.exists("app.signed.wasm"), "{text}");
    }
    bench.write("component.toml", [0xff, 0xfe]);
    bench.line(sign).failed(2, &["component.toml"]);
}

#[test]
fn a_component_that_is_none_is_refused_and_nothing_is_written() {
    let bench = ready();
    let before = bench.names();
    fs::create_dir(bench.path("folder")).expect("ours");
    for (file, content, status, words) in [
        ("missing.wasm", None, 2, &["missing.wasm"][..]),
        ("folder", None, 2, &["folder", "directory"]),
        (
            "core.wasm",
            Some(&b"\0asm\x01\0\0\0"[..]),
            111,
            &["not-a-component", "core module"],
        ),
        (
            "text.wat",
            Some(b"(component)"),
            111,
            &["not-a-component", "text"],
        ),
        (
            "elf.cwasm",
            Some(b"\x7fELF\x02\x01\x01\0"),
            111,
            &["not-a-component", "precompiled"],
        ),
        (
            "cut.wasm",
            Some(b"\0asm\x0d\0\x01\0\0\x7fno"),
            111,
            &["malformed"],
        ),
        ("empty.wasm", Some(b""), 111, &["not-a-component"]),
    ] {
        if let Some(content) = content {
            bench.write(file, content);
        }
        bench
            .line(&format!("sign {file} --manifest component.toml --key leaf.key --chain chain.pem --output out"))
            .failed(status, words);
        let _ = fs::remove_file(bench.path(file));
    }
    fs::remove_dir(bench.path("folder")).expect("ours");
    assert_eq!(bench.names(), before);
}

#[test]
fn a_chain_that_does_not_serve_is_refused_before_signing() {
    let bench = ready();
    bench.write("empty.pem", "");
    bench.write("text.pem", "not a certificate\n");
    bench.write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    bench
        .line("key generate other.key --unencrypted")
        .succeeded();
    let before = bench.names();
    for (chain, words) in [
        ("missing.pem", &["missing.pem"][..]),
        ("empty.pem", &["empty.pem", "CERTIFICATE"]),
        ("text.pem", &["text.pem", "CERTIFICATE"]),
        ("cut.pem", &["cut.pem", "line 1"]),
        ("leaf.key", &["leaf.key", "private key"]),
        (".", &["directory"]),
    ] {
        bench
            .line(&format!("sign app.wasm --key leaf.key --chain {chain}"))
            .failed(2, words);
    }
    // A certificate of another key, and one chain too few.
    bench
        .line("sign app.wasm --key other.key --chain chain.pem")
        .failed(2, &["chain.pem", "key"]);
    bench
        .line("sign app.wasm --key leaf.key --key other.key --chain chain.pem")
        .failed(2, &["--chain"]);
    bench
        .line("sign app.wasm --chain chain.pem")
        .failed(2, &["--key"]);
    assert_eq!(bench.names(), before);
}

#[test]
fn a_key_file_that_others_can_read_signs_nothing() {
    let bench = ready();
    bench.set_mode("leaf.key", 0o644);
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem")
        .failed(2, &["chmod 600"]);
    assert!(!bench.exists("app.signed.wasm"));
}

#[test]
fn an_existing_output_is_kept_unless_forced() {
    let bench = ready();
    bench.write("app.signed.wasm", "mine");
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem")
        .failed(2, &["app.signed.wasm", "--force"]);
    assert_eq!(bench.read("app.signed.wasm"), b"mine");
    for (output, word) in [
        ("nowhere/x", "nowhere"),
        ("/proc/x", "/proc"),
        (".", "directory"),
        ("root.pem/x", "root.pem"),
    ] {
        bench
            .line(&format!(
                "sign app.wasm --key leaf.key --chain chain.pem --output {output}"
            ))
            .failed(2, &[word]);
    }
    bench
        .line("sign app.wasm --key leaf.key --chain chain.pem --force")
        .succeeded();
    assert!(bench.read("app.signed.wasm").starts_with(COMPONENT));
}
