//! A door that processes connect through, and that a test can lead elsewhere: what a failover
//! looks like to clients.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// One door. Its threads end with the test process.
pub struct Door {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The port on this machine that it leads to; `None`: it is closed.
    leads_to: Option<u16>,
    open: Vec<TcpStream>,
}

impl Door {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { leads_to: Some(port), open: Vec::new() }));
        let door = Door { port: own, state: state.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = state.lock().unwrap();
                let Some(port) = state.leads_to else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || carry(from, to));
                }
                state.open.extend([client, server]);
            }
        });
        door
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts every connection; new ones lead there, or nowhere.
    pub fn leads_to(&self, port: Option<u16>) {
        let mut state = self.state.lock().unwrap();
        state.leads_to = port;
        for stream in state.open.drain(..) {
            // One that has ended by itself cannot be cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // Ends when either side does; then neither is of use.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
