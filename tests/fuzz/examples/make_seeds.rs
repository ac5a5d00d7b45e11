//! Writes the inputs that each target starts from into `seeds/`, in place of what is there:
//! `cargo run --release --example make_seeds`, in the folder of this package.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (target, seeds) in countersign_fuzz::seeds::all() {
        let folder = folder.join(target);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("{number:03}")), seed)?;
        }
        println!("{target}: {} inputs", seeds.len());
    }
    Ok(())
}
