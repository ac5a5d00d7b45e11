//! Who sits on the bus: a relay between the store and a TPM that can do to each command and answer what a fault or an
//! attacker does.

use countersign_keys::Tcti;
use countersign_testing::swtpm::{Swtpm, free_pair, tcti_of};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to one command or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The TPM never sees the command, and answers with this code.
    Code(u32),
    /// The TPM does what it should, and its answer is replaced by this code.
    LateCode(u32),
    /// This many bytes of the answer, and then the end.
    Truncated(usize),
    /// The answer's header tells another size than it has.
    Size(u32),
    /// The answer has another tag.
    Tag(u16),
    /// More bytes behind the answer, counted in its size.
    Longer(usize),
    /// Only a header that says success.
    Hollow,
    /// The answer without the part that authenticates it.
    Stripped,
    /// Zeros, as many as the answer is long.
    Zeros,
    /// Bytes that are none of a TPM.
    Noise,
    /// The answer to the command before.
    Stale,
    /// No answer, and the TPM has not seen the command.
    Silence,
    /// No answer, though the TPM did what it should.
    LateSilence,
    /// The connection breaks before the TPM sees the command.
    Disconnect,
    /// It breaks before the answer.
    LateDisconnect,
    /// One bit of the command; the number is taken modulo its length.
    FlipCommand(usize),
    /// One bit of the answer.
    FlipAnswer(usize),
}

type Plan = Box<dyn FnMut(u32) -> Option<Fault> + Send>;

/// A relay, which ends when this is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    plan: Mutex<Plan>,
    seen: Mutex<Vec<u32>>,
    last_answer: Mutex<Vec<u8>>,
    closed: AtomicBool,
    /// How many clients are connected for commands.
    clients: AtomicUsize,
    /// How many plans there were.
    plans: AtomicUsize,
    upstream: u16,
    /// swtpm serves one connection of each kind at a time and lets one more wait. What comes beyond that the system drops, to be
    /// tried again ever more seldom: so they take turns here.
    commands: Mutex<()>,
    controls: Mutex<()>,
}

impl Proxy {
    pub(crate) fn before(tpm: &Swtpm) -> Self {
        let shared = Arc::new(Shared {
            plan: Mutex::new(Box::new(|_| None)),
            seen: Mutex::default(),
            last_answer: Mutex::default(),
            closed: AtomicBool::new(false),
            clients: AtomicUsize::new(0),
            plans: AtomicUsize::new(0),
            upstream: tpm.port(),
            commands: Mutex::default(),
            controls: Mutex::default(),
        });
        let (port, commands, control) = listen();
        accept(&shared, commands, |shared, client| {
            shared.clients.fetch_add(1, Ordering::SeqCst);
            relay_commands(&shared, client);
            shared.clients.fetch_sub(1, Ordering::SeqCst);
        });
        accept(&shared, control, |shared, client| {
            relay_control(&shared, client);
        });
        Self { port, shared }
    }

    pub(crate) fn tcti(&self) -> Tcti {
        tcti_of(self.port)
    }

    /// From now on this decides what happens to each command, by its code (TPM 2.0 part 2, §6.5.2).
    pub(crate) fn plan(&self, plan: impl FnMut(u32) -> Option<Fault> + Send + 'static) {
        *self.shared.plan.lock().expect("no thread died") = Box::new(plan);
        self.shared.plans.fetch_add(1, Ordering::SeqCst);
        self.shared.seen.lock().expect("no thread died").clear();
    }

    /// Nothing happens any more.
    pub(crate) fn calm(&self) {
        self.plan(|_| None);
    }

    /// How many clients wait for answers, or have not gone yet.
    pub(crate) fn clients(&self) -> usize {
        self.shared.clients.load(Ordering::SeqCst)
    }

    /// The codes of the commands since the plan was made.
    pub(crate) fn seen(&self) -> Vec<u32> {
        self.shared.seen.lock().expect("no thread died").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for port in [self.port, self.port + 1] {
            // Wakes the listener.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        }
    }
}

fn listen() -> (u16, TcpListener, TcpListener) {
    for _ in 0..100 {
        let port = free_pair();
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if let (Ok(commands), Ok(control)) = (bind(port), bind(port + 1)) {
            return (port, commands, control);
        }
    }
    panic!("no two free ports");
}

fn accept(
    shared: &Arc<Shared>,
    listener: TcpListener,
    serve: impl Fn(Arc<Shared>, TcpStream) + Send + Sync + Clone + 'static,
) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for client in listener.incoming() {
            if shared.closed.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(client) = client {
                let _ = client.set_nodelay(true);
                let (shared, serve) = (Arc::clone(&shared), serve.clone());
                thread::spawn(move || serve(shared, client));
            }
        }
    });
}

fn relay_control(shared: &Shared, mut client: TcpStream) {
    let _turn = shared.controls.lock().expect("no thread died");
    let Ok(mut tpm) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream + 1)) else {
        return;
    };
    let (Ok(mut from_tpm), Ok(mut to_client)) = (tpm.try_clone(), client.try_clone()) else {
        return;
    };
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut from_tpm, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut tpm);
    let _ = tpm.shutdown(Shutdown::Both);
    let _ = back.join();
}

fn relay_commands(shared: &Shared, mut client: TcpStream) {
    while let Some(mut command) = frame(&mut client) {
        let code = number(&command, 6);
        let fault = {
            shared.seen.lock().expect("no thread died").push(code);
            (shared.plan.lock().expect("no thread died"))(code)
        };
        match fault {
            Some(Fault::Code(code)) => {
                if client.write_all(&refusal(code)).is_err() {
                    return;
                }
                continue;
            }
            Some(Fault::Silence) => return hang(shared, &client),
            Some(Fault::Disconnect) => return,
            Some(Fault::FlipCommand(bit)) => flip(&mut command, bit),
            _ => {}
        }
        let Some(answer) = ask(shared, &command) else {
            return;
        };
        let before = {
            let mut last = shared.last_answer.lock().expect("no thread died");
            std::mem::replace(&mut *last, answer.clone())
        };
        let (answer, goes_on) = match fault {
            Some(Fault::LateSilence) => return hang(shared, &client),
            Some(Fault::LateDisconnect) => return,
            Some(Fault::Truncated(length)) => {
                (answer[..length.min(answer.len() - 1)].to_vec(), false)
            }
            Some(fault) => (bent(answer, before, fault), true),
            None => (answer, true),
        };
        if client.write_all(&answer).is_err() || !goes_on {
            return;
        }
        // The client waits for what the answer promises, and a driver would give up in the end.
        if answer.len() < 6
            || usize::try_from(number(&answer, 2)).is_ok_and(|size| size > answer.len())
        {
            return hang(shared, &client);
        }
    }
}

fn bent(mut answer: Vec<u8>, before: Vec<u8>, fault: Fault) -> Vec<u8> {
    match fault {
        Fault::LateCode(code) => return refusal(code),
        Fault::Size(size) => answer[2..6].copy_from_slice(&size.to_be_bytes()),
        Fault::Tag(tag) => answer[..2].copy_from_slice(&tag.to_be_bytes()),
        Fault::Longer(more) => {
            answer.resize(answer.len() + more, 0xa5);
            let size = u32::try_from(answer.len()).expect("short");
            answer[2..6].copy_from_slice(&size.to_be_bytes());
        }
        Fault::Hollow => return refusal(0),
        Fault::Stripped if answer[..2] == [0x80, 0x02] && answer.len() > 14 => {
            // Handles come first, and answers with handles are left whole.
            let end = 14 + usize::try_from(number(&answer, 10)).expect("short");
            if end <= answer.len() {
                let body = answer[14..end].to_vec();
                answer = refusal(0);
                answer.extend_from_slice(&body);
                let size = u32::try_from(answer.len()).expect("short");
                answer[2..6].copy_from_slice(&size.to_be_bytes());
            }
        }
        Fault::Zeros => answer.fill(0),
        Fault::Noise => {
            for (n, byte) in answer.iter_mut().enumerate() {
                *byte = u8::try_from(n * 151 % 256).expect("a byte") ^ 0x5c;
            }
        }
        Fault::Stale if !before.is_empty() => return before,
        Fault::FlipAnswer(bit) => flip(&mut answer, bit),
        _ => {}
    }
    answer
}

fn refusal(code: u32) -> Vec<u8> {
    let mut answer = vec![0x80, 0x01, 0, 0, 0, 10];
    answer.extend_from_slice(&code.to_be_bytes());
    answer
}

fn flip(bytes: &mut [u8], bit: usize) {
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Sends a command to the TPM itself; swtpm ends the connection after each.
fn ask(shared: &Shared, command: &[u8]) -> Option<Vec<u8>> {
    let _turn = shared.commands.lock().expect("no thread died");
    let mut tpm = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream)).ok()?;
    let _ = tpm.set_nodelay(true);
    // A command whose size was flipped is one that the TPM waits for without end.
    let _ = tpm.set_read_timeout(Some(Duration::from_secs(2)));
    tpm.write_all(command).ok()?;
    let _ = tpm.shutdown(Shutdown::Write);
    frame(&mut tpm)
}

/// A command or an answer: tag, size, code, and what the size says.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 10];
    stream.read_exact(&mut bytes).ok()?;
    let size = usize::try_from(number(&bytes, 2)).ok()?;
    if !(10..=8192).contains(&size) {
        return None;
    }
    bytes.resize(size, 0);
    stream.read_exact(&mut bytes[10..]).ok()?;
    Some(bytes)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Says nothing until there is another plan, as a driver does that gives up in the end, or the client goes.
fn hang(shared: &Shared, client: &TcpStream) {
    let _ = client.set_read_timeout(Some(Duration::from_millis(20)));
    let mut byte = [0];
    let plan = shared.plans.load(Ordering::SeqCst);
    while !shared.closed.load(Ordering::SeqCst) && shared.plans.load(Ordering::SeqCst) == plan {
        match client.peek(&mut byte) {
            Ok(0) => return,
            Ok(_) => thread::sleep(Duration::from_millis(20)),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return,
        }
    }
}
