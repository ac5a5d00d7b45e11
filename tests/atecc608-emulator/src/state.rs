//! The file that keeps an emulated chip's memory: JSON, replaced whole.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::chip::{Memory, SLOT_BYTES};

pub(crate) fn load(path: &Path) -> Result<Option<Memory>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let memory: Memory = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not the memory of an emulated chip", path.display()))?;
    anyhow::ensure!(
        memory.slots.iter().map(Vec::len).eq(SLOT_BYTES),
        "{} has slots of other sizes",
        path.display()
    );
    Ok(Some(memory))
}

pub(crate) fn save(path: &Path, memory: &Memory) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    file.write_all(&serde_json::to_vec(memory)?)?;
    file.persist(path)
        .with_context(|| format!("cannot replace {}", path.display()))?;
    Ok(())
}

/// Byte arrays as hexadecimal digits.
pub(crate) mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(&text).map_err(D::Error::custom)?;
        bytes
            .try_into()
            .map_err(|_| D::Error::custom("another number of bytes"))
    }
}
