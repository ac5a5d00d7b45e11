//! The plug-ins of a desktop program: `cargo run -p countersign-runtime --example plugins`.
//!
//! A photo editor takes filters from a folder. Each is verified; one that was changed and one of a stranger are refused, one
//! that does not end is stopped, and the editor goes on. A newer version takes the place of an older one while that one
//! still works, and an older one does not come back. `editor` is what such a program contains, `filters` is what its
//! plug-ins' makers do, and this file plays both and looks at what happened.

mod editor;
mod filters;

use std::error::Error;
use std::fs;

use countersign_runtime::trust_store::Code;
use editor::{Editor, News};
use filters::{BRIGHTEN, ENDLESS, INVERT, Maker};

const ROW: [u8; 4] = [0, 10, 100, 250];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let maker = Maker::new();
    let folder = tempfile::tempdir()?;
    let plugin = |name: &str| folder.path().join(format!("{name}.wasm"));
    fs::write(plugin("brighten"), maker.sign("brighten", BRIGHTEN, 1))?;
    fs::write(plugin("endless"), maker.sign("endless", ENDLESS, 1))?;
    fs::write(plugin("invert"), maker.sign("invert", INVERT, 1))?;
    let mut changed = maker.sign("changed", INVERT, 1);
    changed[100] ^= 1;
    fs::write(plugin("changed"), changed)?;
    fs::write(plugin("stranger"), Maker::new().sign("stranger", INVERT, 1))?;

    // A real program has `Anchors::new(roots!("roots.pem")?)?` here.
    let mut editor = Editor::new(maker.anchors(), maker.now())?;
    let news = editor.look_into(folder.path())?;
    for line in &news {
        println!("editor: {line}");
    }
    assert_eq!(refusals(&news), [Code::DigestMismatch, Code::UntrustedRoot]);
    assert_eq!(
        editor.names(),
        ["photos:brighten", "photos:endless", "photos:invert"]
    );

    let brighter = editor.apply("photos:brighten", 20, &ROW).await?;
    println!("editor: brighten makes {ROW:?} to {brighter:?}");
    assert_eq!(brighter, [20, 30, 120, 255]);
    let stopped = editor.apply("photos:endless", 20, &ROW).await;
    let stopped = stopped.expect_err("it does not end by itself");
    println!("editor: endless was stopped: {stopped}");
    assert_eq!(stopped.code(), Code::LimitTime);
    assert_eq!(
        editor.apply("photos:invert", 0, &ROW).await?,
        [255, 245, 155, 5]
    );

    for refused in ["changed", "stranger"] {
        fs::remove_file(plugin(refused))?;
    }

    // A new version comes while the old one works; what has begun ends as it began.
    let mut at_work = editor.begin("photos:invert", 0).await?;
    let old = maker.sign("invert", INVERT, 1);
    let new = maker.sign("invert", BRIGHTEN, 2);
    fs::write(plugin("next"), new)?;
    fs::rename(plugin("next"), plugin("invert"))?;
    let news = editor.look_into(folder.path())?;
    assert!(
        matches!(&news[..], [News::Exchanged { version: 2, .. }]),
        "{news:?}"
    );
    assert_eq!(at_work.apply(&ROW).await?, [255, 245, 155, 5]);
    assert_eq!(
        editor.apply("photos:invert", 1, &ROW).await?,
        [1, 11, 101, 251]
    );
    println!("editor: {}", news[0]);

    // And somebody puts the old version back, whose signature is as good as ever.
    fs::write(plugin("invert"), old)?;
    let news = editor.look_into(folder.path())?;
    println!("editor: {}", news[0]);
    assert_eq!(refusals(&news), [Code::Rollback]);
    assert_eq!(
        editor.apply("photos:invert", 1, &ROW).await?,
        [1, 11, 101, 251]
    );
    Ok(())
}

fn refusals(news: &[News]) -> Vec<Code> {
    let code = |news: &News| match news {
        News::Refused { error, .. } => Some(error.code()),
        _ => None,
    };
    news.iter().filter_map(code).collect()
}
