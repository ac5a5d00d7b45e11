//! The power goes at any moment of what a gateway does to its folder, and with it whatever was not flushed: the old version or
//! the new one runs afterwards, and the new one if somebody was told so. And it goes again while the gateway recovers (TH01, TH02).
//!
//! What it does is watched once; what a disk may hold then is made from that, and a gateway started on each. Some of it in
//! the tests; with `COUNTERSIGN_IMAGES`, so many of each kind.

#[path = "unsynced/disk.rs"]
mod disk;
#[path = "unsynced/trace.rs"]
mod trace;

use super::bundles::WHOLE;
use super::kills::{Deed, Dice, May, World, count, text};
use super::*;
use disk::{Disk, Done, Image, images};

/// Of each kind so many images are started, if nothing was said.
const IMAGES: u32 = 1;

/// Images of an `init`, which takes no time, for each of another kind.
const OF_INIT: u32 = 12;

/// One in so many starts is watched, and cut in its turn; one at least.
const AGAIN: u64 = 10;

/// Leftovers at random of each moment.
const RANDOM: u32 = 2;

/// The answer to nobody's question.
const NO_ANSWER: &str = "nobody asked";

impl World {
    /// Starts the gateway watched, does something to it, stops it: what the folder was before, and what was done to it.
    fn watched(&self, answer: &str, order: impl FnOnce(&Self)) -> (Disk, Vec<Done>) {
        let bench = &self.plant.bench;
        let before = Disk::read(&bench.path("state"));
        let gateway = self.spawn_by(
            tracing(bench, "run")
                .arg("--config")
                .arg(bench.path("gateway.toml")),
        );
        self.settle(&gateway);
        order(self);
        let id = gateway.id();
        gateway.stop();
        let text = whole_trace(&bench.path("calls"), id);
        let done = trace::read(&text, &bench.path("state"), &before, answer);
        (before, done)
    }

    /// Puts the folder into the state of an image, starts a gateway on it, and holds what it runs against what may be.
    fn recovers(&mut self, image: &Image, door: &May, pump: &May, told: &Value) {
        image.disk.write(&self.plant.bench.path("state"));
        (self.door, self.pump) = (door.clone(), pump.clone());
        self.told = told.clone();
        self.context = image.lost.clone();
        drop(self.start_settled_once());
    }
}

/// A verb of the gateway, watched by strace.
fn tracing(bench: &Bench, verb: &str) -> Command {
    let mut command = Command::new("strace");
    command
        // The gateway is our child, and strace its grandchild: in a group of its own, so that it is not killed with what is
        // left of the gateway's before it has written the end.
        .args(["-DD", "-f", "-q", "-y", "-xx", "-s", "4000000", "-o"])
        .arg(bench.path("calls"))
        .args([
            "-e",
            &format!("trace={}", trace::CALLS),
            "-e",
            "signal=none",
        ])
        .arg(bench.path("countersign-gateway"))
        .arg(verb);
    command
}

/// What strace wrote, once it has written that the process of this id is gone.
fn whole_trace(path: &Path, id: u32) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).expect("strace writes it");
        let of_it = format!("{id} ");
        let mut ends = text.lines().filter(|line| line.contains("+++"));
        if ends.any(|line| line.starts_with(&of_it)) {
            return text;
        }
        assert!(Instant::now() < until, "strace does not end");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// So many of them, from anywhere.
fn sampled(mut images: Vec<Image>, most: u32, dice: &mut Dice) -> Vec<Image> {
    let most = usize::try_from(most).expect("small");
    while images.len() > most {
        let bound = u64::try_from(images.len()).expect("small");
        let chosen = usize::try_from(dice.below(bound)).expect("small");
        images.swap_remove(chosen);
    }
    images
}

#[test]
fn th01_th02_whatever_a_power_cut_leaves_of_what_was_not_flushed_the_old_or_the_new_runs() {
    let most = count("COUNTERSIGN_IMAGES", IMAGES);
    let mut world = World::new(9);
    let mut dice = Dice::of_now(9);
    world.begin();
    let deeds = [Deed::Reload, Deed::RollBack, Deed::Apply];
    let certainly = usize::try_from(dice.below(3)).expect("small");
    for (turn, deed) in deeds.into_iter().enumerate() {
        let (door, pump) = world.runs();
        let told = world.told.clone();
        let (mut doors, mut pumps) = (May::from([door]), May::from([pump]));
        let (mut new_doors, mut new_pumps) = (doors.clone(), pumps.clone());
        let (before, done) = match deed {
            Deed::Reload => {
                // The file is the operator's: whatever of its activation is lost, it is in its place.
                new_doors = May::from([door + 1]);
                doors = new_doors.clone();
                world.watched(NO_ANSWER, |world| {
                    world.write_door(door + 1, false);
                    assert_eq!(world.plant.bench.reload().0.status, 0);
                    world.until("door", door + 1);
                })
            }
            Deed::RollBack => {
                let back = world.door_before.expect("there is one before");
                new_doors = May::from([back]);
                doors.insert(back);
                world.watched("\"runs\":{", |world| {
                    let ran = world.plant.bench.ran("rollback", &["door"]);
                    assert_eq!(ran.status, 0, "{ran:?}");
                    world.until("door", back);
                })
            }
            _ => {
                world.write_pump(pump + 1, false);
                let bundle = world.plant.bundle(world.plant.plan(pump + 1, WHOLE));
                new_pumps = May::from([pump + 1]);
                pumps.insert(pump + 1);
                world.watched("\"outcome\":\"applied\"", |world| {
                    let ran = world.plant.bench.ran("apply", &[text(&bundle)]);
                    assert_eq!(ran.status, 0, "{ran:?}");
                    // Its own copy follows within the second.
                    std::thread::sleep(Duration::from_millis(1_100));
                })
            }
        };
        let whole = before.clone();
        let whole = done.iter().fold(whole, |mut disk, done| {
            disk.redo(done);
            disk
        });
        let all = images(&before, &done, RANDOM, &mut dice);
        let (found, answered) = (all.len(), all.iter().filter(|image| image.answered).count());
        let chosen = sampled(all, most, &mut dice);
        let started = chosen.len();
        let mut again = 0;
        for (at, image) in chosen.iter().enumerate() {
            let (doors, pumps) = match image.answered {
                true => (&new_doors, &new_pumps),
                false => (&doors, &pumps),
            };
            world.recovers(image, doors, pumps, &told);
            // Once more, while it recovers.
            if (turn, at) == (certainly, 0) || dice.below(AGAIN) == 0 {
                image.disk.write(&world.plant.bench.path("state"));
                let (before, done) = world.watched(NO_ANSWER, |_| {});
                for image in sampled(images(&before, &done, 1, &mut dice), 2, &mut dice) {
                    world.recovers(&image, doors, pumps, &told);
                    again += 1;
                }
            }
        }
        println!(
            "{deed:?}: {} changes, {found} images ({answered} after the answer), {started} started, and {again} after a second cut",
            done.len()
        );
        // All of it is there in the end.
        let end = Image {
            disk: whole,
            answered: true,
            lost: "nothing".to_owned(),
        };
        world.recovers(&end, &new_doors, &new_pumps, &told);
    }
}

#[test]
fn th01_whatever_a_power_cut_leaves_of_an_init_it_is_done_again_or_was_done() {
    let most = count("COUNTERSIGN_IMAGES", IMAGES);
    let world = World::new(10);
    let mut dice = Dice::of_now(10);
    let bench = &world.plant.bench;
    let _ = fs::remove_dir_all(bench.path("state"));
    // The folder that it is made in.
    world.write_door(2, false);
    let outer = bench.path("outer");
    fs::create_dir(&outer).expect("ours");
    let before = Disk::read(&outer);
    let mut command = tracing(bench, "init");
    let mut init = command
        .arg("--state")
        .arg(outer.join("state"))
        .stdout(Stdio::null())
        .spawn()
        .expect("strace");
    assert!(init.wait().expect("our own process").success());
    let text = whole_trace(&bench.path("calls"), init.id());
    let done = trace::read(&text, &outer, &before, "was made");
    let all = images(&before, &done, RANDOM, &mut dice);
    let found = all.len();
    let chosen = sampled(all, OF_INIT.saturating_mul(most), &mut dice);
    for image in &chosen {
        image.disk.write(&outer);
        let made = run(bench
            .command("init")
            .arg("--state")
            .arg(outer.join("state")));
        let there = made.stderr.contains("is the folder of a gateway already");
        assert!(made.status == 0 || there, "{}: {made:?}", image.lost);
        assert!(!image.answered || there, "{}: {made:?}", image.lost);
        // Whole, for whoever looks.
        bench.configure_with(
            "[gateway]\nstate = \"outer/state\"\nlists = [\"crls.pem\"]\n\
             [[service]]\nname = \"door\"\ncomponent = \"door.wasm\"\nsigned-as = \"test:door\"\n",
        );
        let checked = bench.ran("check", &[]);
        assert_eq!(checked.status, 0, "{}: {checked:?}", image.lost);
    }
    println!(
        "init: {} changes, {found} images, {} tried",
        done.len(),
        chosen.len()
    );
}
