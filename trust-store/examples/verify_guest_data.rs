//! Checks away from the device what it signed for one of its guests, and prints what the device's host says about it:
//!
//! ```text
//! verify_guest_data --root ROOT.pem [--crl LIST.pem]… [FILE]
//! ```
//!
//! FILE, or standard input, holds COSE_Sign1 messages in hexadecimal, a line for each, as the telemetry guests print
//! them, or one message as it is. What is needed is in `countersign-trust-store` alone: no Wasmtime, and nothing of the
//! device. The exit status is that of the first refusal, and 2 for wrong use.

use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_format::GuestPayload;
use countersign_trust_store::{
    AnchorSource, Anchors, Now, Rejection, TrustState, UnixTime, VerifiedGuestData, pem,
};

fn main() -> ExitCode {
    match check() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(rejection)) => {
            eprintln!("refused: {}", rejection.code());
            eprintln!("  why:  {rejection}");
            eprintln!("  next: {}", rejection.code().next_step());
            ExitCode::from(rejection.code().exit_status())
        }
        Err(error) => {
            eprintln!("verify_guest_data: {error}");
            ExitCode::from(2)
        }
    }
}

/// What is on the command line.
#[derive(Default)]
struct Arguments {
    root: Option<String>,
    crls: Vec<String>,
    file: Option<String>,
}

fn check() -> Result<Result<(), Rejection>, Box<dyn Error>> {
    let arguments = arguments()?;
    let root = arguments.root.ok_or("name the root: --root ROOT.pem")?;

    // Whom to believe. Whoever checks many messages makes this once.
    let mut source = AnchorSource::new(pem::certificates(&std::fs::read(root)?)?.remove(0));
    for path in &arguments.crls {
        source.crls.extend(pem::crls(&std::fs::read(path)?)?);
    }
    let anchors = Anchors::new(vec![source])?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let now = Now::at(UnixTime::from_secs(clock));

    for message in messages(arguments.file.as_deref())? {
        match anchors.verify_guest_data(&message, &now, &TrustState::stateless()) {
            Ok(verified) => print(&verified),
            Err(rejection) => return Ok(Err(rejection)),
        }
    }
    Ok(Ok(()))
}

/// What the signature vouches for. Whether this component may say this, and whether the numbers rise as they should, is
/// for the reader to judge.
fn print(verified: &VerifiedGuestData) {
    let claims = verified.claims();
    println!("device:     {}", claims.device());
    println!("root:       {}", verified.chain().anchor_subject());
    println!("component:  {}", claims.component());
    println!("  sha256:   {}", claims.component_digest());
    for signer in claims.signers() {
        println!("  signer:   {signer}");
    }
    println!("context:    {}", claims.context());
    let boot: String = claims
        .boot()
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("boot:       {boot}");
    println!("sequence:   {}", claims.sequence());
    match verified.payload() {
        // A guest's text may hold what a terminal obeys.
        GuestPayload::Message(message) => println!("message:    {}", message.escape_ascii()),
        GuestPayload::Digest(digest) => println!("digest:     {digest}"),
    }
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--root" => arguments.root = Some(words.next().ok_or("--root needs a file")?),
            "--crl" => arguments
                .crls
                .push(words.next().ok_or("--crl needs a file")?),
            option if option.starts_with("--") => {
                return Err(format!("there is no option {option}").into());
            }
            _ => arguments.file = Some(word),
        }
    }
    Ok(arguments)
}

/// The messages in a file, or in standard input: lines of hexadecimal, or one as it is (which begins with the tag 18).
fn messages(file: Option<&str>) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    match file {
        Some(file) => bytes = std::fs::read(file)?,
        None => {
            std::io::stdin().read_to_end(&mut bytes)?;
        }
    }
    if bytes.starts_with(&[0xd2]) {
        return Ok(vec![bytes]);
    }
    let text = String::from_utf8(bytes)?;
    let messages: Vec<_> = text
        .split_ascii_whitespace()
        .map(from_hex)
        .collect::<Option<_>>()
        .ok_or("the messages are neither hexadecimal nor COSE_Sign1")?;
    if messages.is_empty() {
        return Err("there is no message".into());
    }
    Ok(messages)
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [_, _] => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
            _ => None,
        })
        .collect()
}
