//! A TCP proxy whose target a test can change, which is how a failover appears to clients.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy. Its threads end with the test process.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The target's port on this machine; `None` refuses connections.
    redirect: Option<u16>,
    open: Vec<TcpStream>,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { redirect: Some(port), open: Vec::new() }));
        let proxy = Proxy { port: own, state: state.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = state.lock().unwrap();
                let Some(port) = state.redirect else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || carry(from, to));
                }
                state.open.extend([client, server]);
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Closes every connection and changes the target.
    pub fn redirect(&self, port: Option<u16>) {
        let mut state = self.state.lock().unwrap();
        state.redirect = port;
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
