//! A TCP proxy before the test server that can be cut, or fall silent.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::url;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    Open,
    /// Ends all connections, and each new one at once.
    Cut,
    /// Takes everything and passes nothing on. Connections that fell silent stay so.
    Silent,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: watch::Sender<usize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, connections) = (watch::Sender::new(mode), watch::Sender::new(0));
        let (modes, count) = (mode.subscribe(), connections.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (inside, _) = listener.accept().await.unwrap();
                let (modes, count) = (modes.clone(), count.clone());
                tokio::spawn(async move {
                    count.send_modify(|count| *count += 1);
                    pass(inside, modes).await;
                    count.send_modify(|count| *count -= 1);
                });
            }
        });
        Self { address, mode, connections, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns once so many connections are open.
    pub(crate) async fn connections(&self, count: usize) {
        let mut connections = self.connections.subscribe();
        let waiting = connections.wait_for(|now| *now == count);
        tokio::time::timeout(crate::BOUND, waiting).await.expect("connections come and go").unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut inside: TcpStream, mut modes: watch::Receiver<Mode>) {
    if *modes.borrow_and_update() == Mode::Cut {
        return;
    }
    let info = redis::Client::open(url()).unwrap();
    let redis::ConnectionAddr::Tcp(host, port) = info.get_connection_info().addr() else {
        panic!("the test server must be reached over plain TCP");
    };
    let mut outside = TcpStream::connect((host.as_str(), *port)).await.unwrap();
    let passing = async {
        if *modes.borrow() != Mode::Silent {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => return,
                _ = modes.wait_for(|mode| *mode != Mode::Open) => {}
            }
        }
        let _ = modes.wait_for(|mode| *mode == Mode::Cut).await;
    };
    passing.await;
}
