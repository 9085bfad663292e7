//! A link that can be cut: whoever connects to it is connected to what stands behind it.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Whole,
    /// Nothing comes through, and nobody is told; what was sent arrives once the link is whole.
    Silent,
    /// Connections break, also new ones.
    Broken,
}

/// A link to an address. It lasts as long as the process.
#[derive(Debug, Clone)]
pub(super) struct Link {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    condition: Condition,
    /// Both ends of each open connection.
    open: HashMap<u64, [TcpStream; 2]>,
    opened: u64,
}

impl Link {
    /// A link to a port of this machine, on a port of its own.
    pub(super) fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let state = State { condition: Condition::Whole, open: HashMap::new(), opened: 0 };
        let shared = Arc::new(Shared {
            to: (Ipv4Addr::LOCALHOST, port).into(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let link = Self { port: listener.local_addr()?.port(), shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for below in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.connect(&below));
            }
        });
        Ok(link)
    }

    /// The port to connect to.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Puts the link into a condition.
    pub(super) fn set(&self, condition: Condition) {
        let mut state = self.shared.lock();
        state.condition = condition;
        if condition == Condition::Broken {
            for stream in state.open.drain().flat_map(|(_, streams)| streams) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Waits out silence. Returns whether the link is whole then.
    fn is_whole(&self) -> bool {
        let state = self.lock();
        let is_silent = |state: &mut State| state.condition == Condition::Silent;
        let state = self.changed.wait_while(state, is_silent).expect("no holder panics");
        state.condition == Condition::Whole
    }

    /// Carries a connection until an end closes it, or the link breaks.
    fn connect(&self, below: &TcpStream) {
        if !self.is_whole() {
            return;
        }
        let Ok(above) = TcpStream::connect_timeout(&self.to, Duration::from_secs(5)) else {
            return;
        };
        let clone = |stream: &TcpStream| {
            let _ = stream.set_nodelay(true);
            stream.try_clone()
        };
        let (Ok(below_too), Ok(above_too)) = (clone(below), clone(&above)) else { return };
        let id = {
            let mut state = self.lock();
            state.opened += 1;
            let id = state.opened;
            state.open.insert(id, [below_too, above_too]);
            id
        };
        std::thread::scope(|scope| {
            scope.spawn(|| self.carry(below, &above));
            self.carry(&above, below);
        });
        self.lock().open.remove(&id);
    }

    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if !self.is_whole() || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
