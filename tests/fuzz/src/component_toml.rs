//! Manifests: what is accepted can be signed, and an error points into the text.

use countersign_format::{Digest, FormatError, Statement, StatementFields, limits};
use countersign_signer::{Manifest, ManifestError};

use crate::world::{COMPONENT, world};

/// Takes one input: a byte that says which of the two files the text is, and the text.
pub fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let read = if kind & 1 == 0 {
        Manifest::from_component_toml(text)
    } else {
        Manifest::from_cargo_toml(text)
    };
    match read {
        Ok(manifest) => can_be_signed(&manifest),
        Err(error) => points_into(&error, text),
    }
}

fn can_be_signed(manifest: &Manifest) {
    let pki = &world(1).pki;
    let mut fields = pki.statement(COMPONENT, manifest);
    assert_eq!(fields.component_digest, Digest::of(COMPONENT));
    fields.issued_at = Some(crate::world::NOW);
    let statement = match Statement::new(fields.clone()) {
        Ok(statement) => statement,
        // Each part is within its limits and all together are not; or a version is longer than any.
        Err(FormatError::LimitExceeded { what, .. })
            if what == "statement" || what == "version" =>
        {
            return;
        }
        Err(error) => panic!("accepted, and cannot be signed: {error}"),
    };
    let bytes = statement.encode();
    assert!(bytes.len() as u64 <= limits::MAX_STATEMENT_BYTES);
    assert_eq!(Statement::decode(&bytes).as_ref(), Ok(&statement));
    // The lists are in order already, so nothing that was read is said otherwise.
    let StatementFields {
        audience,
        grants,
        limits,
        name,
        version,
        ..
    } = statement.fields();
    assert_eq!(
        (audience, grants, limits),
        (&fields.audience, &fields.grants, &fields.limits)
    );
    assert_eq!((name, version), (&fields.name, &fields.version));
}

fn points_into(error: &ManifestError, text: &str) {
    let shown = error.to_string();
    assert!(!shown.is_empty());
    if let Some(line) = error.line() {
        assert!(
            line >= 1 && line <= text.matches('\n').count() + 1,
            "{shown}"
        );
        let column = error.column().expect("a line has a column");
        assert!(column >= 1 && column <= text.chars().count() + 1, "{shown}");
    }
}
