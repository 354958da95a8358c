//! A gate on a port of this machine, targets behind it, and a client that speaks raw bytes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use protocol::egress::Egress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use worker::Metrics;
use worker::egress::{CallPolicy, Gate, Limits, Names, OpenCall, Own, Range, SlotGate};

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) slot: SlotGate,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
}

impl Stage {
    /// A gate with this machine opened, where every name is 127.0.0.1.
    pub(crate) fn set() -> Self {
        Self::with(&["127.0.0.1"], &[], |_: &str| vec![Ipv4Addr::LOCALHOST.into()])
    }

    pub(crate) fn with(opened: &[&str], own: &[String], names: impl Names + 'static) -> Self {
        let opened: Vec<Range> = opened.iter().map(|range| range.parse().unwrap()).collect();
        let own: Vec<Own> = own.iter().map(|own| own.parse().unwrap()).collect();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let slot = SlotGate::new(Gate::with_names(&opened, &own, names), metrics.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        slot.serve(listener).unwrap();
        Self { slot, address, metrics }
    }

    pub(crate) fn open(&self) -> OpenCall {
        self.slot.open(policy())
    }

    pub(crate) fn open_for(&self, allow: &[&str]) -> OpenCall {
        let allow = allow.iter().map(|pattern| pattern.parse().unwrap()).collect();
        self.slot.open(CallPolicy { egress: Some(Egress { allow }), ..policy() })
    }

    pub(crate) fn open_with(&self, limits: Limits) -> OpenCall {
        self.slot.open(CallPolicy { limits, ..policy() })
    }

    /// A connection to the gate.
    pub(crate) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request`, and reads what comes until the end.
    pub(crate) async fn say(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.write_all(request.as_bytes()).await.unwrap();
        rest(&mut client).await
    }

    /// A tunnel to `target`.
    pub(crate) async fn tunnel(&self, target: &str) -> TcpStream {
        let mut client = self.client().await;
        client.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = [0; 26];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200 Connected\r\n\r\n");
        client
    }

    /// The answer to a CONNECT that is refused.
    pub(crate) async fn refused(&self, target: &str) -> String {
        self.say(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await
    }

    /// A client that has asked for one page, and the target that heard it.
    pub(crate) async fn asked(&self) -> (TcpStream, TcpStream) {
        let (listener, address) = listener().await;
        let mut client = self.client().await;
        client.write_all(format!("GET http://{address}/ HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let (mut target, _) = within(listener.accept()).await.unwrap();
        let expected = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut head = vec![0; expected.len()];
        within(target.read_exact(&mut head)).await.unwrap();
        assert_eq!(String::from_utf8(head).unwrap(), expected);
        (client, target)
    }

    /// The same, and the client has the first half of an answer.
    pub(crate) async fn half_answered(&self) -> (TcpStream, TcpStream) {
        let (mut client, mut target) = self.asked().await;
        target.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        let mut half = [0; 42];
        within(client.read_exact(&mut half)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&half), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf");
        (client, target)
    }

    /// Waits until so many connections have ended like this.
    pub(crate) async fn ended(&self, outcome: &str, count: u64) {
        let counter = self.metrics.egress_connections.with_label_values(&[outcome]);
        within(async {
            while counter.get() != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

pub(crate) fn policy() -> CallPolicy {
    CallPolicy { egress: None, ends: Instant::now() + Duration::from_secs(60), limits: Limits::default() }
}

/// Everything until the end; what was read if the connection is reset.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// True if the connection was cut off, and not ended.
pub(crate) async fn is_reset(stream: &mut TcpStream) -> bool {
    within(stream.read_to_end(&mut Vec::new())).await.is_err()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened in time")
}

/// A listener on this machine, and `127.0.0.1:PORT`.
pub(crate) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A server that sends back what it gets, until the client ends.
pub(crate) async fn echo() -> String {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

/// The port of an address.
pub(crate) fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// A resolver that answers from a list, one answer after the other, and stays with the last.
pub(crate) fn answers(list: &[&str]) -> impl Names + use<> {
    let list: Vec<IpAddr> = list.iter().map(|address| address.parse().unwrap()).collect();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    move |_: &str| {
        let turn = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        vec![list[turn.min(list.len() - 1)]]
    }
}

/// An address where nobody listens, and what keeps it from everybody else.
pub(crate) fn nobody() -> (tokio::net::TcpSocket, String) {
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = bound.local_addr().unwrap().to_string();
    (bound, address)
}
