//! `dev`: everything that a developer needs to sign a component and to build a host that runs it.

use std::path::Path;

use anyhow::Context as _;
use countersign_backend_file::rand_core::TryCryptoRng;
use countersign_backend_file::{FileKey, Overwrite};
use countersign_format::{Audience, DeviceMetadata, Scope};
use countersign_provisioning::{
    CaName, DEVELOPMENT_ROOT_DAYS, DeviceName, EndEntity, Intermediate, Issuer, Profile, Root,
    Validity,
};
use serde::Serialize;

use super::{Context, init, intermediate, issue, make_crl, validity};
use crate::arguments::Dev;
use crate::directory::CaDirectory;
use crate::durable::{self, Existing};
use crate::new_key::KeyPlan;
use crate::output::{self, CERTIFICATE, CRL};

/// Read by the build of the host programs, from its own folder.
const ROOTS_TOML: &str = "\
# Roots of a development PKI, for COUNTERSIGN_ROOTS when a host is built.
# Valid for 31 days; hosts say at every start that they hold such a root, and a gateway refuses it.

[[root]]
pem = \"root.pem\"
purpose = \"components\"
crls = [\"root.crl.pem\", \"intermediate.crl.pem\"]
";

#[derive(Serialize)]
struct Report {
    version: u32,
    roots: String,
    key: String,
    chain: String,
    device_id: String,
    serial: String,
    scope: Vec<String>,
    not_after: u64,
}

pub(crate) fn run(
    context: &Context<'_>,
    dir: &Path,
    arguments: &Dev,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<()> {
    if dir.symlink_metadata().is_ok() {
        let empty = dir.is_dir()
            && std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        anyhow::ensure!(
            empty,
            "{} exists already and was not touched: name a new folder with --dir",
            dir.display()
        );
    }
    // Built beside its place and moved there in one step: a folder of that name is always complete.
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let building = tempfile::Builder::new()
        .prefix(".countersign-dev-")
        .tempdir_in(parent)
        .with_context(|| format!("no folder can be made in {}", parent.display()))?;
    let report = build(context, dir, building.path(), arguments, rng)?;
    durable::sync_folder(building.path())?;
    std::fs::rename(building.path(), dir)
        .with_context(|| format!("{} could not be put in place", dir.display()))?;
    // It is no longer where it would be cleaned up.
    let _ = building.keep();
    durable::sync_folder(parent)?;

    context.console.warn("this PKI is for development: 31 days, keys unencrypted, and hosts with its root say so at every start");
    let text = format!(
        "roots   {}\nkey     {}\nchain   {}\nscope   {}\n\n\
         sign:   countersign sign --key {} --chain {} COMPONENT.wasm\n\
         build:  COUNTERSIGN_ROOTS={} cargo build -p countersign-run\n",
        report.roots,
        report.key,
        report.chain,
        report.scope.join(" "),
        report.key,
        report.chain,
        absolute(Path::new(&report.roots)),
    );
    context.console.result(&text, &report)
}

/// Keys that are thrown away after 31 days lie in the folder as they are.
fn unencrypted(arguments: &Dev) -> KeyPlan {
    KeyPlan::InFolder {
        algorithm: arguments.algorithm.into(),
        secret: None,
    }
}

fn build(
    context: &Context<'_>,
    dir: &Path,
    building: &Path,
    arguments: &Dev,
    rng: &mut impl TryCryptoRng,
) -> anyhow::Result<Report> {
    let directory = CaDirectory::create(&building.join("ca"), context.now)?;
    let root = Root {
        name: CaName::new("Countersign development", "Development root", None)?,
        validity: validity(context.now, DEVELOPMENT_ROOT_DAYS, None)?,
        path_length: 1,
        development: true,
    };
    let root_authority = init::make_root(&directory, &root, unencrypted(arguments), rng)?;
    let root_key = root_authority.key(&context.passphrase)?;

    let wanted = Intermediate {
        name: CaName::new("Countersign development", "Development intermediate", None)?,
        validity: root.validity,
        path_length: 0,
        scope: None,
    };
    let authority = intermediate::make_intermediate(
        context,
        &directory,
        &intermediate::Place {
            parent: &root_authority,
            parent_key: &root_key,
            id: "intermediate",
            replaces: None,
        },
        &wanted,
        unencrypted(arguments),
        rng,
    )?;
    let authority_key = authority.key(&context.passphrase)?;

    let device_key = FileKey::generate(arguments.algorithm.into(), rng)?;
    device_key.save(&building.join("device.key.pem"), None, Overwrite::Refuse)?;
    let issuer = Issuer::new(&authority_key, &authority.certificate()?)?;
    let request = EndEntity {
        name: DeviceName::new(arguments.device_id.clone())
            .with_organization("Countersign development")?,
        metadata: DeviceMetadata::default().with_device_type(&arguments.device_type)?,
        validity: Validity::new(
            issuer.validity().not_before(),
            issuer.validity().not_after(),
        )?,
        scope: Some(
            Scope::new(arguments.scope.clone(), Audience::default())
                .context("the scope is not accepted")?,
        ),
        hardware: None,
        dns_names: Vec::new(),
        no_rev_avail: false,
    };
    let issued = issue::make_end_entity(
        context,
        &directory,
        &authority,
        &authority_key,
        Profile::ComponentSigner,
        device_key.public_key(),
        &request,
        rng,
    )?;
    let mut chain = vec![issued.certificate.clone()];
    chain.extend(issue::chain_above(&directory, &authority)?);

    let root_crl = make_crl(context, &root_authority, &root_key, DEVELOPMENT_ROOT_DAYS)?;
    let intermediate_crl = make_crl(context, &authority, &authority_key, DEVELOPMENT_ROOT_DAYS)?;

    let write = |name: &str, text: String| {
        durable::write(&building.join(name), text.as_bytes(), Existing::Refuse)
    };
    write(
        "root.pem",
        output::pem(CERTIFICATE, &[root_authority.certificate()?])?,
    )?;
    write(
        "intermediate.pem",
        output::pem(CERTIFICATE, &[authority.certificate()?])?,
    )?;
    write("device.chain.pem", output::pem(CERTIFICATE, &chain)?)?;
    write("root.crl.pem", output::pem(CRL, &[root_crl.crl])?)?;
    write(
        "intermediate.crl.pem",
        output::pem(CRL, &[intermediate_crl.crl])?,
    )?;
    write("roots.toml", ROOTS_TOML.to_owned())?;

    let shown = |name: &str| dir.join(name).display().to_string();
    Ok(Report {
        version: 1,
        roots: shown("roots.toml"),
        key: shown("device.key.pem"),
        chain: shown("device.chain.pem"),
        device_id: arguments.device_id.to_string(),
        serial: issued.serial.to_string(),
        scope: arguments.scope.iter().map(ToString::to_string).collect(),
        not_after: issued.validity.not_after().as_secs(),
    })
}

/// The build of a host runs elsewhere, so its variable needs the whole path.
fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}
