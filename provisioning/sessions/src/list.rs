//! A list of devices as it comes from a spreadsheet: CSV (RFC 4180) with a line of column names.
//!
//! A row that is wrong is one device's error and stops no other; a list whose columns are not understood is no list.

use std::collections::{BTreeMap, BTreeSet};

use countersign_format::{DeviceIdentity, Digest};
use countersign_keys::KeyUri;

use crate::{Error, Job};

/// The longest list, in bytes: a hundred thousand devices of some hundred bytes each.
const MAX_BYTES: usize = 32 << 20;

/// The most devices of one list.
const MAX_ROWS: usize = 100_000;

/// The columns: what they are called, and whether each list has them.
const COLUMNS: [(&str, bool); 6] = [
    ("id", true),
    ("type", false),
    ("revision", false),
    ("firmware", false),
    ("key", false),
    ("hardware", false),
];

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number, from 1, the names of the columns not counted.
    pub number: usize,
    /// The identity as it stands there, for messages.
    pub id: String,
    /// What is to be done, or what is wrong with the row.
    pub job: Result<Job, String>,
    /// SHA-256 of what the row says.
    pub digest: Digest,
}

/// Reads a list. `key` is what keys are called where the list has no column for them; `{id}` in it is the device's identity
/// and `{row}` the row's number.
///
/// | column | |
/// |---|---|
/// | `id` | the device's identity, such as its serial number |
/// | `type`, `revision`, `firmware` | what its certificate says of it; may be missing or empty |
/// | `key` | its key URI, never a program nor what names a library; may be missing where `key` is given |
/// | `hardware` | SHA-256 of what its hardware must be, 64 hexadecimal digits; may be missing or empty |
///
/// # Errors
/// [`Error::List`] for what is no such list. A wrong row is not an error: see [`Row::job`].
pub fn read_list(text: &[u8], key: Option<&str>) -> Result<Vec<Row>, Error> {
    let no_list = |reason: String| Error::List { reason };
    if text.len() > MAX_BYTES {
        return Err(no_list(format!(
            "it has more than {MAX_BYTES} bytes: split it"
        )));
    }
    // Spreadsheets begin their files with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(text);
    let columns = columns(
        reader
            .headers()
            .map_err(|error| no_list(format!("its first line cannot be read: {error}")))?,
        key.is_some(),
    )?;
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, record) in (1..).zip(reader.records()) {
        if rows.len() == MAX_ROWS {
            return Err(no_list(format!(
                "it has more than {MAX_ROWS} devices: split it"
            )));
        }
        rows.push(row(number, record, &columns, key, &mut seen));
    }
    if rows.is_empty() {
        return Err(no_list("it has no device: add a row for each".to_owned()));
    }
    Ok(rows)
}

/// Where each column is.
type Columns = BTreeMap<String, usize>;

fn columns(names: &csv::StringRecord, has_key: bool) -> Result<Columns, Error> {
    let no_list = |reason: String| Error::List { reason };
    let mut columns = Columns::new();
    for (place, name) in names.iter().enumerate() {
        // By which name serial numbers come from elsewhere.
        let name = match name.to_ascii_lowercase().as_str() {
            "serial" => "id".to_owned(),
            name => name.to_owned(),
        };
        if !COLUMNS.iter().any(|(known, _)| *known == name) {
            return Err(no_list(format!(
                "its column {name:?} is not known: there are id, type, revision, firmware, key and hardware"
            )));
        }
        if columns.insert(name.clone(), place).is_some() {
            return Err(no_list(format!("it has two columns {name:?}: remove one")));
        }
    }
    for (name, is_needed) in COLUMNS {
        if is_needed && !columns.contains_key(name) {
            return Err(no_list(format!(
                "it has no column {name:?}: name the columns in the first line"
            )));
        }
    }
    if !columns.contains_key("key") && !has_key {
        return Err(no_list(
            "it has no column \"key\": add one, or name the station's key, such as tpm:device"
                .to_owned(),
        ));
    }
    Ok(columns)
}

fn row(
    number: usize,
    record: csv::Result<csv::StringRecord>,
    columns: &Columns,
    key: Option<&str>,
    seen: &mut BTreeSet<String>,
) -> Row {
    let record = match record {
        Ok(record) => record,
        Err(error) => {
            let said = error.to_string();
            return Row {
                number,
                id: String::new(),
                digest: Digest::of(said.as_bytes()),
                job: Err(format!("the row cannot be read: {said}")),
            };
        }
    };
    let field = |name: &str| {
        columns
            .get(name)
            .and_then(|place| record.get(*place))
            .unwrap_or_default()
    };
    let digest =
        Digest::of(format!("{:?}\n{key:?}", COLUMNS.map(|(name, _)| field(name))).as_bytes());
    let job = if record.len() > columns.len() {
        Err(
            "it has more fields than there are columns: look for commas and quotation marks"
                .to_owned(),
        )
    } else {
        job(number, field, key).and_then(|job| {
            // Each has a folder of its name, and some file systems take two spellings for one.
            if seen.insert(job.device.as_str().to_lowercase()) {
                Ok(job)
            } else {
                Err(format!(
                    "{} is in the list twice, perhaps in other letters of the same name: this row is left out, remove it",
                    job.device
                ))
            }
        })
    };
    Row {
        number,
        id: shown(field("id")),
        job,
        digest,
    }
}

fn job<'a>(
    number: usize,
    field: impl Fn(&str) -> &'a str,
    key: Option<&str>,
) -> Result<Job, String> {
    let device: DeviceIdentity = field("id")
        .parse()
        .map_err(|error: countersign_format::FormatError| error.to_string())?;
    let uri = match (field("key"), key) {
        ("", Some(template)) => template
            .replace("{id}", device.as_str())
            .replace("{row}", &number.to_string())
            .parse::<KeyUri>()
            .map_err(|error| error.to_string())?,
        (uri, _) => named_by_a_row(uri)?,
    };
    let job = Job {
        device_type: field("type").to_owned(),
        revision: field("revision").to_owned(),
        firmware: field("firmware").to_owned(),
        key: uri,
        hardware: match field("hardware") {
            "" => None,
            digits => Some(hash(digits)?),
        },
        device,
    };
    // What the certificate could not say is an error of the row, not of the authority.
    job.metadata().map_err(|error| error.to_string())?;
    Ok(job)
}

/// The key of a row. A list comes from elsewhere: it starts no program and loads nothing into this process.
fn named_by_a_row(uri: &str) -> Result<KeyUri, String> {
    let uri: KeyUri = uri
        .parse()
        .map_err(|error: countersign_keys::KeyUriInvalid| error.to_string())?;
    let runs = match &uri {
        KeyUri::Exec(_) => true,
        KeyUri::Pkcs11(token) => ["module-name", "module-path", "pin-source"]
            .iter()
            .any(|name| token.get(name).is_some()),
        _ => false,
    };
    if runs {
        return Err(
            "a list's keys name no program, no module and no file with a PIN: leave the field empty, and give the station \
             such a key with --key"
                .to_owned(),
        );
    }
    Ok(uri)
}

fn hash(digits: &str) -> Result<[u8; 32], String> {
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash)
        .map_err(|_| "hardware is a SHA-256, 64 hexadecimal digits".to_owned())?;
    Ok(hash)
}

/// For a message: of what may be anything, the beginning, in one line.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rows: &[Row]) -> Vec<(usize, String)> {
        rows.iter()
            .filter_map(|row| Some((row.number, row.job.as_ref().err()?.clone())))
            .collect()
    }

    #[test]
    fn tg08_a_row_that_is_wrong_is_that_rows_error() {
        let list = "serial,type,revision,firmware,key,hardware\n\
             press-1,press,B,1.2.0,file:a.pem,\n\
             ../../etc,press,B,1.2.0,file:b.pem,\n\
             press-1,press,B,1.2.0,file:c.pem,\n\
             press-2,press,B,1.2.0,tpm:a b,\n\
             press-3,press,B,1.2.0,file:d.pem,12\n\
             press-4,\"a\nb\",B,1.2.0,file:e.pem,\n\
             press-5,press,B,1.2.0,file:f.pem,,one,too,many\n\
             ,,,,,\n\
             press-6,,,,file:g.pem,\n";
        let rows = read_list(list.as_bytes(), None).expect("a list");
        let wrong = problems(&rows);
        assert_eq!(
            wrong.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
            [2, 3, 4, 5, 6, 7, 8],
            "{wrong:?}"
        );
        assert!(wrong[1].1.contains("twice"));
        let first = rows[0].job.as_ref().expect("a job");
        assert_eq!(first.firmware, "1.2.0");
        assert_ne!(rows[0].digest, rows[8].digest);
    }

    #[test]
    fn a_row_starts_no_program_and_loads_no_library() {
        let list = "id,key\n\
             press-1,exec:/bin/true\n\
             press-2,pkcs11:token=a;object=b?module-path=/tmp/evil.so\n\
             press-3,pkcs11:token=a;object=b?module-name=evil\n\
             press-4,pkcs11:token=a;object=b?pin-source=file:/etc/shadow\n\
             press-5,pkcs11:token=a;object=b\n\
             press-6,EXEC:/bin/true\n\
             press-7,\n";
        let rows = read_list(list.as_bytes(), Some("exec:/bin/station")).expect("a list");
        let wrong = problems(&rows);
        assert_eq!(
            wrong.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
            [1, 2, 3, 4, 6],
            "{wrong:?}"
        );
        assert!(wrong[0].1.contains("no program"), "{wrong:?}");
    }

    #[test]
    fn two_names_that_may_be_one_folder_are_one_too_many() {
        let list = "id\nPress-1\npress-1\npress-2\n";
        let rows = read_list(list.as_bytes(), Some("tpm:device")).expect("a list");
        let wrong = problems(&rows);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!(wrong[0].0, 2);
    }

    #[test]
    fn a_list_whose_columns_are_not_understood_is_none() {
        for (list, key, word) in [
            ("", None, "id"),
            ("id\n", Some("tpm:device"), "no device"),
            ("id,type\npress-1,press\n", None, "key"),
            ("id,id\nx,y\n", Some("tpm:device"), "two columns"),
            ("id,serial\nx,y\n", Some("tpm:device"), "two columns"),
            ("id,colour\nx,y\n", Some("tpm:device"), "colour"),
        ] {
            let error = read_list(list.as_bytes(), key).expect_err(list);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn the_stations_key_serves_where_the_list_names_none() {
        let list = b"\xef\xbb\xbfid,key\r\npress-1,\r\npress-2,tpm:other\r\n";
        let rows = read_list(list, Some("tpm:{id}-{row}")).expect("a list");
        let keys: Vec<String> = rows
            .iter()
            .map(|row| row.job.as_ref().expect("a job").key.to_string())
            .collect();
        assert_eq!(keys, ["tpm:press-1-1", "tpm:other"]);
    }
}
