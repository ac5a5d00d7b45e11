//! Names of keys: read, written and read again, they are the same, so that what a log says can be typed.

use countersign_keys::KeyUri;

/// Takes one input: a text.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let uri: KeyUri = match text.parse() {
        Ok(uri) => uri,
        Err(error) => {
            let error: countersign_keys::KeyUriInvalid = error;
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let written = uri.to_string();
    assert!(written.starts_with(&format!("{}:", uri.scheme())));
    // Writing a name out may make it longer, up to three characters for one, and so too long to be read again.
    if written.len() <= 4_200 {
        let again: KeyUri = written.parse().expect("what was written is read");
        assert_eq!(again, uri, "{written}");
        assert_eq!(again.to_string(), written);
    }
    match &uri {
        KeyUri::Pkcs11(key) => {
            assert!(key.get("object").is_some() || key.get("id").is_some());
            assert!(key.get("type").is_none_or(|value| value == b"private"));
            assert_eq!(key.get("pin-value"), None);
            assert!(!written.contains("pin-value="), "no PIN in a log");
            assert!(written.is_ascii(), "no control characters in a log");
        }
        KeyUri::Atecc608(key) => {
            assert!(key.bus().is_absolute());
            assert!((0x08..=0x77).contains(&key.address()) && key.slot() <= 15);
        }
        KeyUri::Exec(command) => {
            assert!(
                command.split_ascii_whitespace().next().is_some(),
                "a program"
            );
            assert_eq!(command.trim_ascii(), command);
        }
        _ => {}
    }
}
