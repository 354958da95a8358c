//! One connection as a disposable session: opened, set up, used, and on any error thrown away as a whole
//! and built again, for ever.
//!
//! The client library could recover by itself. It doesn't here, because half of a recovered connection
//! (without its prefetch, or with one consumer missing) looks healthy and isn't.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{BoxStream, StreamExt};
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Trouble;

/// For each of: TCP and TLS, the AMQP handshake.
const OPEN: Duration = Duration::from_secs(5);
/// For the answer to a request that the server answers at once when it is well.
const ANSWER: Duration = Duration::from_secs(5);
/// For each farewell: to a channel, to the connection.
const CLOSE: Duration = Duration::from_secs(2);
/// A session that lived this long was a good one: the next failure starts with short pauses again.
const PROVEN: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where to connect to. No `Debug`: it holds the password.
pub(crate) struct Server {
    uri: AMQPUri,
}

impl Server {
    pub(crate) fn new(uri: AMQPUri) -> Self {
        Self { uri }
    }
}

/// Where a supervised connection is.
#[derive(Debug, Clone)]
pub(crate) enum State<T> {
    /// Not needed yet.
    Idle,
    /// Being made, or between two tries; with what ended the last one.
    Away(Option<Trouble>),
    /// Set up completely.
    Ready(T),
}

/// What is done on a connection, from its set-up to its end.
pub(crate) trait Session: Send {
    /// What the others use while the session is ready.
    type Handle: Send + Sync;
    /// The connection's name, as the server's operators see it.
    const NAME: &'static str;

    /// Sets everything up, says `Ready`, and works until `stop` (then `Ok`) or the first error.
    fn run(
        &mut self,
        link: &Link,
        state: &watch::Sender<State<Self::Handle>>,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Puts right what made the session fail, where that can be done before the next one.
    fn repair(&mut self, _server: &Server, _trouble: &Trouble) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Runs session after session until `stop`.
pub(crate) async fn supervise<S: Session>(
    server: Arc<Server>,
    mut session: S,
    state: watch::Sender<State<S::Handle>>,
    stop: CancellationToken,
) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        let mut proven = false;
        let opened = tokio::select! {
            opened = Link::open(&server, S::NAME) => opened,
            () = stop.cancelled() => break,
        };
        let ended = match opened {
            Ok(link) => {
                let since = Instant::now();
                let ended = session.run(&link, &state, &stop).await;
                let ended = ended.map_err(|trouble| link.cause().unwrap_or(trouble));
                proven = since.elapsed() >= PROVEN;
                link.close().await;
                ended
            }
            Err(trouble) => Err(trouble),
        };
        let Err(trouble) = ended else { break };
        failures = if proven { 0 } else { failures + 1 };
        if failures <= 1 {
            tracing::warn!(connection = S::NAME, error = %trouble, "the connection to RabbitMQ failed");
        } else {
            tracing::debug!(connection = S::NAME, failures, error = %trouble, "RabbitMQ is still away");
        }
        state.send_replace(State::Away(Some(trouble.clone())));
        let pausing = async {
            session.repair(&server, &trouble).await;
            tokio::time::sleep(pause(failures, random())).await;
        };
        tokio::select! {
            () = pausing => {}
            () = stop.cancelled() => {}
        }
    }
    state.send_replace(State::Away(None));
}

/// The pause before the next try: anything between the shortest and a ceiling that doubles with each
/// failure (full jitter), so that a fleet doesn't come back as one.
fn pause(failures: u32, jitter: f64) -> Duration {
    let ceiling = SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    SHORTEST_PAUSE + (ceiling - SHORTEST_PAUSE).mul_f64(jitter)
}

/// A number in 0..=1. `RandomState` has random keys; a pause needs nothing better.
fn random() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / f64::from(u32::MAX)
}

/// An open connection.
pub(crate) struct Link {
    connection: Connection,
    events: Mutex<BoxStream<'static, Event>>,
    _socket: Arc<Socket>,
}

/// A second handle on the connection's socket, which ends it for certain. Without it a connection whose
/// peer went silent would keep its thread and buffers for as long as the peer stays silent.
#[derive(Default)]
struct Socket(OnceLock<TcpStream>);

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(stream) = self.0.get() {
            // Fails if the connection is closed already: just what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Link {
    pub(crate) async fn open(server: &Server, name: &str) -> Result<Self, Trouble> {
        let socket = Arc::new(Socket::default());
        let waiting = Arc::downgrade(&socket);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        let handshake = Connection::connector(
            server.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let tls = OwnedTLSConfig::default();
                let connecting = uri.connect_with_config_async(tls.as_ref(), &runtime);
                let stream = timeout(OPEN, connecting).await.map_err(io::Error::from)??;
                let tcp = match &stream {
                    AsyncTcpStream::Plain(plain) => plain.get_ref(),
                    AsyncTcpStream::Rustls(tls) => tls.get_ref().0.get_ref(),
                    _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
                };
                // Small frames must not wait for each other.
                tcp.set_nodelay(true)?;
                let second = tcp.as_fd().try_clone_to_owned()?.into();
                match waiting.upgrade().map(|socket| socket.0.set(second)) {
                    Some(Ok(())) => Ok(stream),
                    // Nobody waits for this connection any more.
                    _ => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                }
            },
            properties,
        );
        // Twice: `connect` has its own limit. What ends here early drops the socket and so ends the thread.
        let opened = timeout(OPEN * 2, handshake).await;
        let connection = opened.map_err(|_| Trouble::NoAnswer("connection.open"))??;
        let events = Mutex::new(connection.events_listener().boxed());
        Ok(Self { connection, events, _socket: socket })
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, Trouble> {
        answer("channel.open", self.connection.create_channel()).await
    }

    /// Ends a channel once the server has done all that was asked on it. Without this, what is still on its way is lost
    /// with the connection: a channel that is merely dropped makes the client library cut the connection as it closes.
    pub(crate) async fn finish(&self, channel: &Channel) {
        if self.check(channel).is_ok() {
            let _ = timeout(CLOSE, channel.close(200, "OK".into())).await;
        }
    }

    /// Fails once the connection or this channel of it is gone, whether or not anyone uses them.
    pub(crate) fn check(&self, channel: &Channel) -> Result<(), Trouble> {
        let alive = self.connection.status().connected() && channel.status().connected();
        if alive { Ok(()) } else { Err(Trouble::Away) }
    }

    /// Returns once [`Link::check`] fails.
    pub(crate) async fn ended(&self, channel: &Channel) -> Trouble {
        loop {
            tokio::time::sleep(SHORTEST_PAUSE).await;
            if let Err(trouble) = self.check(channel) {
                return trouble;
            }
        }
    }

    /// What ended the connection, where the client library has told. The first operation that fails need
    /// not know it.
    pub(crate) fn cause(&self) -> Option<Trouble> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| events.next().now_or_never().flatten()).find_map(|event| match event {
            Event::Error(error) => Some(Trouble::from(error)),
            _ => None,
        })
    }

    /// True while the server takes no messages for lack of room.
    pub(crate) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    async fn close(self) {
        if self.connection.status().connected() {
            // The other side may be gone; dropping the socket is what ends the connection for certain.
            let _ = timeout(CLOSE, self.connection.close(200, "OK".into())).await;
        }
    }
}

/// Bounds the wait for an answer of the server.
pub(crate) async fn answer<T>(
    what: &'static str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Trouble> {
    Ok(timeout(ANSWER, asked).await.map_err(|_| Trouble::NoAnswer(what))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_shortest_to_the_longest_and_are_spread() {
        let ceilings: Vec<_> = [0, 1, 3, 7, 60].map(|failures| pause(failures, 1.0).as_millis()).into();
        assert_eq!(ceilings, [50, 100, 400, 5_000, 5_000]);
        assert_eq!(pause(60, 0.0), SHORTEST_PAUSE);
        assert!((0.0..=1.0).contains(&random()));
    }
}
