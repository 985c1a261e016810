//! A MongoDB behind a proxy that reads its commands, by which a test can kill or freeze the server at a
//! chosen write: before the server receives it, or after its execution and before its response arrives.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::servers::{Server, private_mongodb};

/// How long a server that is about to be killed has for the write before.
const EXECUTED_WITHIN: Duration = Duration::from_secs(5);

/// A fault at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server is killed; the write never reaches it.
    KilledBefore,
    /// The server executes the write and is killed; its answer is lost.
    KilledAfter,
    /// The server is frozen; the write waits in its socket, and is executed when it wakes.
    Frozen,
}

/// All faults.
pub const FAULTS: [Fault; 3] = [Fault::KilledBefore, Fault::KilledAfter, Fault::Frozen];

/// Selects a future write.
#[derive(Clone, Debug)]
struct Trap {
    fault: Fault,
    /// Only writes that contain these bytes count.
    needle: Vec<u8>,
    /// Writes that pass before.
    passing: u64,
}

/// The server and its proxy.
pub struct Primary {
    /// Announced to clients with the proxy's address.
    pub server: Server,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The server, for the proxy's threads.
    process: Mutex<Option<Process>>,
    trap: Mutex<Option<Trap>>,
    /// The fault that has occurred.
    sprung: Mutex<Option<Fault>>,
    /// Writes that passed the proxy.
    writes: AtomicU64,
    /// Whether the frozen server has answered what waited in its socket.
    answered_late: AtomicBool,
}

/// Signals to the server's process, whatever became of it.
#[derive(Clone, Copy)]
struct Process {
    port: u16,
    pid: u32,
}

impl Primary {
    /// A MongoDB of its own for one test.
    pub fn start() -> Self {
        let server = private_mongodb();
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Without `directConnection` clients would go where the server says that it is.
        let port = listener.local_addr().unwrap().port();
        let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
        let process = Process { port: server.port(), pid: server.pid() };
        *shared.process.lock().unwrap() = Some(process);
        let proxy = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", process.port)) else { continue };
                serve(proxy.clone(), client, server);
            }
        });
        Primary { server: server.reached_at(url), shared }
    }

    /// Arms a fault at the write after so many others that contain these bytes.
    pub fn at_write(&self, fault: Fault, passing: u64, needle: &[u8]) {
        let trap = Trap { fault, needle: needle.to_vec(), passing };
        *self.shared.sprung.lock().unwrap() = None;
        self.shared.answered_late.store(false, Ordering::SeqCst);
        *self.shared.trap.lock().unwrap() = Some(trap);
    }

    /// Disarms the fault.
    pub fn disarm(&self) {
        *self.shared.trap.lock().unwrap() = None;
    }

    /// Returns the fault that has occurred since it was armed.
    pub fn sprung(&self) -> Option<Fault> {
        *self.shared.sprung.lock().unwrap()
    }

    /// Returns the number of writes that passed the proxy.
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::SeqCst)
    }

    /// Whether a server that was frozen has executed the write that waited for it.
    pub fn answered_late(&self) -> bool {
        self.shared.answered_late.load(Ordering::SeqCst)
    }

    /// Ends a fault: the server runs again on the same data.
    pub fn recover(&self, fault: Fault) {
        match fault {
            Fault::Frozen => self.server.thaw(),
            Fault::KilledBefore | Fault::KilledAfter => {
                // Reaps what the proxy has killed.
                self.server.kill();
                self.server.restart();
                let process = Process { port: self.server.port(), pid: self.server.pid() };
                *self.shared.process.lock().unwrap() = Some(process);
            }
        }
    }
}

impl Shared {
    /// The fault of this message, if it is the write at which one is to happen.
    fn fault_at(&self, message: &[u8]) -> Option<Fault> {
        if !is_write(message) {
            return None;
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        let mut trap = self.trap.lock().unwrap();
        let armed = trap.as_mut()?;
        if !contains(message, &armed.needle) {
            return None;
        }
        if armed.passing > 0 {
            armed.passing -= 1;
            return None;
        }
        trap.take().map(|trap| trap.fault)
    }

    /// A signal takes its time to reach all threads.
    fn wait_until_stopped(&self) {
        let pid = self.process.lock().unwrap().map_or(0, |process| process.pid);
        let began = Instant::now();
        while !is_stopped(pid) && began.elapsed() < EXECUTED_WITHIN {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn signal(&self, name: &str) {
        if let Some(process) = *self.process.lock().unwrap() {
            let pid = process.pid.to_string();
            let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
            assert!(sent.success(), "kill -{name} {pid}");
        }
    }
}

/// Returns whether all threads of a process are stopped.
fn is_stopped(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().all(|task| {
        let state = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // Behind the name, which may have any bytes.
        state.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T'))
    })
}

/// One connection.
fn serve(shared: Arc<Shared>, client: TcpStream, server: TcpStream) {
    // Set once an answer is not to be heard; then that it came.
    let (deaf, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    {
        let (shared, deaf, heard) = (shared.clone(), deaf.clone(), heard.clone());
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            while let Some(message) = read_message(&mut from) {
                if deaf.load(Ordering::SeqCst) {
                    heard.store(true, Ordering::SeqCst);
                    shared.answered_late.store(true, Ordering::SeqCst);
                } else if to.write_all(&message).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    thread::spawn(move || {
        let (mut from, mut to) = (client, server);
        while let Some(message) = read_message(&mut from) {
            match shared.fault_at(&message) {
                None => {
                    if to.write_all(&message).is_err() {
                        break;
                    }
                    continue;
                }
                Some(Fault::KilledBefore) => {
                    shared.signal("KILL");
                    *shared.sprung.lock().unwrap() = Some(Fault::KilledBefore);
                }
                Some(Fault::KilledAfter) => {
                    deaf.store(true, Ordering::SeqCst);
                    let _ = to.write_all(&message);
                    let began = Instant::now();
                    while !heard.load(Ordering::SeqCst) && began.elapsed() < EXECUTED_WITHIN {
                        thread::sleep(Duration::from_millis(1));
                    }
                    shared.signal("KILL");
                    *shared.sprung.lock().unwrap() = Some(Fault::KilledAfter);
                }
                Some(Fault::Frozen) => {
                    shared.signal("STOP");
                    shared.wait_until_stopped();
                    deaf.store(true, Ordering::SeqCst);
                    let _ = to.write_all(&message);
                    *shared.sprung.lock().unwrap() = Some(Fault::Frozen);
                    // The caller gives up; the server's side stays open, as a network may keep it.
                    let _ = std::io::copy(&mut from, &mut std::io::sink());
                    return;
                }
            }
            break;
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// One message of MongoDB's protocol, whole.
fn read_message(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let bytes = usize::try_from(i32::from_le_bytes(length)).ok().filter(|bytes| *bytes >= 16)?;
    let mut message = vec![0; bytes];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..]).ok()?;
    Some(message)
}

/// Whether it is an `OP_MSG` whose command writes: the name is the first element of its document.
fn is_write(message: &[u8]) -> bool {
    const HEADER_FLAGS_KIND_LENGTH_TYPE: usize = 16 + 4 + 1 + 4 + 1;
    let name = message.get(HEADER_FLAGS_KIND_LENGTH_TYPE..).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    matches!(name, b"insert" | b"update" | b"delete" | b"findAndModify")
}

fn contains(message: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || message.windows(needle.len()).any(|part| part == needle)
}
