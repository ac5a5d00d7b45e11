use std::sync::atomic::{AtomicU64, Ordering};

use countersign_trust_store::{Code, Crl, UnixTime};

use super::*;
use crate::admission::tests::Bench;
use crate::lists::Given;

static WALL: AtomicU64 = AtomicU64::new(0);

/// Far longer than anything takes here: what is not done by then, hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a run that was told to end is gone.
async fn until_gone(run: &tokio::task::AbortHandle) {
    let gone = async {
        while !run.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it ends");
}

/// A service under supervision that runs nothing yet.
struct Place {
    supervision: Supervision,
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    /// A list that names the signer of all that comes.
    naming: Crl,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let bench = Bench::new(|| UnixTime::from_secs(WALL.load(Ordering::SeqCst)));
        WALL.store(bench.pki.time().as_secs(), Ordering::SeqCst);
        let current = bench.load();
        let list = bench.pki.crl_against_device(1_000);
        let (commands, received) = mpsc::unbounded_channel();
        let (told, status) = watch::channel(refused("pump", Refusal::not_tried()));
        let supervision = Supervision {
            kept: Kept::in_state(bench.folder.path()).expect("made"),
            host: Arc::new(bench.host),
            state: Arc::new(bench.state),
            commands: Commands::of(received),
            told,
            waits: Waits::new(bench.service.restart),
            service: bench.service,
            current,
            proved: false,
            again: None,
            began: Instant::now(),
            probed: false,
            leaving: None,
            before: Vec::new(),
        };
        Self {
            supervision,
            commands,
            status,
            naming: Crl::parse(&list).expect("a list"),
            folder: bench.folder,
        }
    }

    /// What is to take the place of what runs, and what becomes of it.
    fn next(&self) -> (Box<Next>, oneshot::Receiver<Result<(), Stayed>>) {
        let (told, became) = oneshot::channel();
        let next = Next {
            service: self.supervision.service.clone(),
            admitted: self.supervision.current.clone(),
            told,
        };
        (Box::new(next), became)
    }

    fn withdraw(state: &State) {
        let name = "test:pump".parse().expect("a name");
        state
            .remember(|memory| memory.raise_minimum(&name, 1_000))
            .expect("remembered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn td18_td15_what_was_withdrawn_or_revoked_while_it_was_asked_for_its_health_takes_no_place()
{
    let mut place = Place::new();
    // Nothing speaks against it.
    let (next, _became) = place.next();
    let fit = place.supervision.fit(next).await;
    assert!(matches!(fit, Fit::Takes(_)));
    // A list comes while it is asked.
    let (next, mut became) = place.next();
    let (host, naming) = (Arc::clone(&place.supervision.host), place.naming.clone());
    let asked = async move {
        host.lists.exchange(Given::brought(vec![naming]));
        Ok(())
    };
    let fit = place.supervision.fit_by(next, asked).await;
    assert!(matches!(fit, Fit::Stays));
    let Ok(Err(Stayed(why))) = became.try_recv() else {
        panic!("it took the place")
    };
    assert!(why.contains("revocation list"), "{why}");
    // A bundle withdraws its version meanwhile.
    let host = Arc::clone(&place.supervision.host);
    host.lists.exchange(Given::default());
    let (next, mut became) = place.next();
    let state = Arc::clone(&place.supervision.state);
    let asked = async move {
        Place::withdraw(&state);
        Ok(())
    };
    let fit = place.supervision.fit_by(next, asked).await;
    assert!(matches!(fit, Fit::Stays));
    let Ok(Err(Stayed(why))) = became.try_recv() else {
        panic!("it took the place")
    };
    assert!(why.contains("withdrew"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn td15_who_stops_a_service_does_not_wait_for_the_health_of_its_next() {
    let mut place = Place::new();
    let (next, mut became) = place.next();
    let _ = place.commands.send(Command::StopAtOnce);
    let asked = std::future::pending();
    let fit = tokio::time::timeout(PATIENCE, place.supervision.fit_by(next, asked));
    let fit = fit.await.expect("heard at once");
    assert!(matches!(fit, Fit::Told(Some(Command::StopAtOnce))));
    assert!(matches!(became.try_recv(), Ok(Err(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn td15_who_is_told_to_stop_while_it_is_asked_for_its_health_does_not_begin() {
    let mut place = Place::new();
    // What is to take its place is no reason; it is heard next.
    let (next, _became) = place.next();
    let _ = place.commands.send(Command::Exchange(next));
    let (asked, answer) = oneshot::channel();
    let began = place.supervision.begin_by(async {
        tokio::task::yield_now().await;
        asked.send(()).expect("it waits");
        Ok(())
    });
    assert!(began.await.is_some() && answer.await.is_ok());
    let heard = place.supervision.commands.recv().await;
    assert!(matches!(heard, Some(Command::Exchange(_))));
    for at_once in [true, false] {
        let mut place = Place::new();
        let (next, _became) = place.next();
        let _ = place.commands.send(Command::Exchange(next));
        if at_once {
            let _ = place.commands.send(Command::StopAtOnce);
        } else {
            drop(place.commands);
        }
        let began = place.supervision.begin_by(std::future::pending());
        let began = tokio::time::timeout(PATIENCE, began).await;
        assert!(began.expect("heard at once").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn td15_who_is_at_work_and_does_not_say_whether_it_is_healthy_is_told_to_stop_nevertheless() {
    let mut place = Place::new();
    place.supervision.service.restart.healthy_after = Duration::ZERO;
    let (asked, was_asked) = oneshot::channel();
    let asked = std::sync::Mutex::new(Some(asked));
    let ask = move |_: &Supervision| {
        let asked = asked.lock().expect("ours").take().expect("asked once");
        asked.send(()).expect("it waits");
        Asked::by(std::future::pending())
    };
    let run = tokio::spawn(std::future::pending::<Ended>());
    let watched = run.abort_handle();
    let at_work = AtWork::Running(work::Run::of(run));
    let commands = place.commands.clone();
    let told = tokio::spawn(async move {
        was_asked.await.expect("asked");
        let _ = commands.send(Command::StopAtOnce);
    });
    let event = place.supervision.attend(at_work, ask);
    let event = tokio::time::timeout(PATIENCE, event).await;
    assert!(matches!(event, Ok(Event::Stop)));
    told.await.expect("no panic");
    until_gone(&watched).await;
}

/// Says when it is dropped.
struct Gone(Arc<AtomicU64>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn th10_who_is_told_something_gives_his_question_up_and_asks_again() {
    let mut place = Place::new();
    place.supervision.service.restart.healthy_after = Duration::ZERO;
    let (asked, gone) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (times, goes) = (Arc::clone(&asked), Arc::clone(&gone));
    // The answer to the first never comes, and what it waits with is others', too.
    let ask = move |_: &Supervision| match times.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let gone = Gone(Arc::clone(&goes));
            Asked::by(async move {
                std::future::pending::<()>().await;
                drop(gone);
                Ok(())
            })
        }
        _ => Asked::by(std::future::pending()),
    };
    let run = tokio::spawn(std::future::pending::<Ended>());
    let at_work = AtWork::Running(work::Run::of(run));
    let (next, became) = place.next();
    Place::withdraw(&place.supervision.state);
    let commands = place.commands.clone();
    let (times, goes) = (Arc::clone(&asked), Arc::clone(&gone));
    let told = tokio::spawn(async move {
        let until = async |count: &AtomicU64, number| {
            while count.load(Ordering::SeqCst) < number {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        until(&times, 1).await;
        let _ = commands.send(Command::Exchange(next));
        assert!(became.await.expect("an answer").is_err());
        until(&goes, 1).await;
        until(&times, 2).await;
        let _ = commands.send(Command::StopAtOnce);
    });
    let event = place.supervision.attend(at_work, ask);
    let event = tokio::time::timeout(PATIENCE, event).await;
    assert!(matches!(event, Ok(Event::Stop)));
    told.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn td10_no_version_is_raised_before_what_was_exchanged_has_finished_what_it_had_under_way() {
    let mut place = Place::new();
    place.supervision.service.restart.healthy_after = Duration::ZERO;
    // What proves healthy is kept.
    let service = &place.supervision.service;
    let bytes = std::fs::read(&service.place.component).expect("its file");
    let file = &place.supervision.current.facts.file_sha256;
    let copy = place.supervision.kept.candidate(&service.name, file);
    copy.put_down(&bytes).expect("put down");
    let (finish, finished) = oneshot::channel::<()>();
    let before = tokio::spawn(async { finished.await.expect("told") });
    // Another one before it has nothing under way any more.
    place.supervision.before = vec![tokio::spawn(async {}), before];
    let run = tokio::spawn(std::future::pending::<Ended>());
    let at_work = AtWork::Running(work::Run::of(run));
    let state = Arc::clone(&place.supervision.state);
    let raised = move || state.memory().versions().next().is_some();
    let (asked, was_asked) = mpsc::unbounded_channel();
    let ask = move |_: &Supervision| {
        let _ = asked.send(());
        Asked::by(async { Ok(()) })
    };
    let (commands, mut status, mut was_asked) = (place.commands.clone(), place.status, was_asked);
    let told = tokio::spawn(async move {
        was_asked.recv().await.expect("asked");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!raised() && !status.borrow().proved);
        finish.send(()).expect("it waits");
        status
            .wait_for(|status| status.proved)
            .await
            .expect("it is there");
        assert!(raised());
        // Asked once: what it said stays good meanwhile.
        assert!(was_asked.try_recv().is_err());
        let _ = commands.send(Command::StopAtOnce);
    });
    let event = place.supervision.attend(at_work, ask);
    let event = tokio::time::timeout(PATIENCE, event).await;
    assert!(matches!(event, Ok(Event::Stop)));
    told.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn td18_what_was_withdrawn_before_its_start_does_not_start() {
    let mut place = Place::new();
    Place::withdraw(&place.supervision.state);
    // Nor what was withdrawn while it was asked for its health.
    let begun = place.supervision.begin().await.expect("nobody stops it");
    let failure = begun.err().expect("it must not begin");
    assert_eq!(failure.code(), Some(Code::Withdrawn));
    let running = tokio::spawn(place.supervision.run());
    let is_refused = |status: &Status| match &status.doing {
        Doing::Refused(refusal) => refusal.code == Some(Code::Withdrawn.as_str()),
        _ => false,
    };
    let refused = place.status.wait_for(is_refused);
    let refused = tokio::time::timeout(PATIENCE, refused).await;
    let starts = refused.expect("in time").expect("it is there").starts;
    assert_eq!(starts, 0);
    drop(place.commands);
    running.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn td15_what_hands_its_place_over_is_among_those_that_are_leaving_before_the_next_has_it() {
    let mut place = Place::new();
    let run = tokio::spawn(std::future::pending::<Ended>());
    let watched = run.abort_handle();
    let at_work = AtWork::Running(work::Run::of(run));
    let seen_off = tokio::spawn(place.supervision.see_off(at_work, true));
    let host = Arc::clone(&place.supervision.host);
    // The next is asked for its health for as long as it likes.
    tokio::task::yield_now().await;
    host.leaving.end(|one| one.facts.component == "test:door");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!watched.is_finished() && place.supervision.leaving.is_some());
    // A list names a signer of the old one, which may be among them a moment later than this thread gets here.
    let gone = async {
        while !seen_off.is_finished() {
            host.leaving.end(|one| one.facts.component == "test:pump");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        seen_off.await
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    gone.expect("at once").expect("no panic");
    until_gone(&watched).await;
    // Where nobody speaks against it, it goes when the next has its place.
    let run = tokio::spawn(std::future::pending::<Ended>());
    let at_work = AtWork::Running(work::Run::of(run));
    let seen_off = tokio::spawn(place.supervision.see_off(at_work, true));
    let next = place.supervision.leaving.take().expect("it waits");
    next.send(()).expect("it waits");
    let gone = tokio::time::timeout(PATIENCE, seen_off).await;
    gone.expect("in time").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn td10_what_proved_healthy_during_a_trial_is_remembered_before_another_takes_its_place() {
    let kept = |ends: bool, alone: bool, next: u64| async move {
        let mut place = Place::new();
        let file = std::fs::read(place.folder.path().join("pump.wasm")).expect("ours");
        let supervision = &mut place.supervision;
        let candidate = supervision
            .kept
            .candidate("pump", &supervision.current.facts.file_sha256);
        candidate.put_down(&file).expect("put down");
        if !alone {
            let under_way = std::future::pending::<()>();
            supervision.before.push(tokio::spawn(under_way));
        }
        supervision.host.hold.begin(Vec::new());
        supervision.prove();
        assert!(supervision.told.borrow().proved && !supervision.proved);
        assert!(supervision.kept.copies("pump").is_empty(), "on trial");
        if ends {
            supervision.host.hold.end();
        }
        let mut facts = supervision.current.facts.clone();
        supervision.current.facts.security_version = 5;
        facts.security_version = next;
        supervision.remember_before(&facts);
        assert_eq!(
            supervision.proved,
            supervision.kept.copies("pump").len() == 1
        );
        supervision.proved
    };
    assert!(kept(true, true, 5).await);
    assert!(kept(true, true, 6).await);
    assert!(!kept(true, true, 4).await, "an operator goes back");
    assert!(!kept(false, true, 6).await, "the trial is not over");
    assert!(
        !kept(true, false, 6).await,
        "the one before has something under way"
    );
}
