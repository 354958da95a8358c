//! The one pipelined connection that all calls share: made when it is first needed, thrown away on any doubt,
//! made anew by the next call. No call waits longer than [`CALL`].
//!
//! Not the library's `ConnectionManager`: that keeps a failed handshake for ever (a wrong password that was
//! put right, a server that was full), and a connection whose server fell silent.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use protocol::ports::{Kind, PortError};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, PushInfo, PushKind};
use redis::{RedisError, RedisResult, Script, ServerErrorKind, Value};

use crate::error;

/// The longest that one call may take, connecting included.
const CALL: Duration = Duration::from_secs(2);

/// The longest that `ping` may take: its promise is two seconds.
const PING: Duration = Duration::from_millis(1_500);

/// The longest that connecting may take, so that a call that waits for it learns why it failed.
const CONNECT: Duration = Duration::from_millis(1_200);

/// How long a failure to connect stands before the next call tries again: callers may be many and in a hurry.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls that may wait to be written. The library's 50 would stall a busy dispatcher.
const BUFFER: usize = 1_024;

/// The connection, or the attempt to make it. Cheap to clone and shared by all who call meanwhile.
type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// A connection that heals. Share it behind an `Arc`.
pub(crate) struct Connection {
    client: Client,
    current: Arc<Mutex<Current>>,
}

#[derive(Default)]
struct Current {
    /// Counts connections, so that trouble with an old one doesn't end its successor.
    number: u64,
    connecting: Option<Connecting>,
    /// Set where connecting failed.
    failed: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, current: Arc::default() }
    }

    /// Runs one command.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        cmd: &Cmd,
    ) -> Result<T, PortError> {
        self.call(operation, CALL, async |mut connection| cmd.query_async(&mut connection).await).await
    }

    /// Runs several commands in one round trip, and gives an answer for each.
    pub(crate) async fn run_all(
        &self,
        operation: &'static str,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, PortError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.call(operation, CALL, async |mut connection| commands.query_async(&mut connection).await).await
    }

    /// Runs a script by its hash (`call` is made by [`evaluate`]), and loads it first where the server doesn't have it
    /// (any more).
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        call: &Cmd,
    ) -> Result<T, PortError> {
        let run = async |mut connection| match call.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                script.load_async(&mut connection).await?;
                call.query_async(&mut connection).await
            }
            answer => answer,
        };
        self.call(operation, CALL, run).await
    }

    /// Whether the server would take a write now: a replica, a full disk or full memory would not.
    pub(crate) async fn ping(&self, operation: &'static str, key: &str) -> Result<(), PortError> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(1).arg("PX").arg(60_000);
        self.call(operation, PING, async |mut connection| set.query_async(&mut connection).await).await
    }

    async fn call<T, F>(
        &self,
        operation: &'static str,
        limit: Duration,
        work: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, PortError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (number, connecting) = self.current();
        let steps = async {
            match connecting.await {
                Ok(connection) => work(connection).await.inspect_err(|error| {
                    if is_broken(error) {
                        lock(&self.current).discard(number);
                    }
                }),
                Err(error) => {
                    lock(&self.current).failed(number);
                    Err(error)
                }
            }
        };
        match tokio::time::timeout(limit, steps).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(error::failed(operation, error)),
            Err(_) => {
                // Slow or silent, we can't tell; a new connection is cheap, and calls on the old one go on.
                lock(&self.current).discard(number);
                Err(PortError::new(Kind::Timeout, operation))
            }
        }
    }

    /// The connection that is there, or the attempt to make one.
    fn current(&self) -> (u64, Connecting) {
        let mut current = lock(&self.current);
        let stale = current.failed.is_some_and(|failed| failed.elapsed() >= PAUSE);
        if let (false, Some(connecting)) = (stale, &current.connecting) {
            return (current.number, connecting.clone());
        }
        current.number += 1;
        current.failed = None;
        let connecting = self.connect(current.number).boxed().shared();
        current.connecting = Some(connecting.clone());
        (current.number, connecting)
    }

    fn connect(&self, number: u64) -> impl Future<Output = RedisResult<MultiplexedConnection>> + 'static {
        let (client, current) = (self.client.clone(), Arc::downgrade(&self.current));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BUFFER)
            .set_push_sender(move |push: PushInfo| -> Result<(), std::convert::Infallible> {
                if let (PushKind::Disconnection, Some(current)) = (push.kind, current.upgrade()) {
                    lock(&current).discard(number);
                }
                Ok(())
            });
        async move { client.get_multiplexed_async_connection_with_config(&config).await }
    }
}

impl Current {
    /// The next call makes a new connection.
    fn discard(&mut self, number: u64) {
        if self.number == number {
            self.connecting = None;
        }
    }

    /// Calls get the same error until the pause is over.
    fn failed(&mut self, number: u64) {
        if self.number == number {
            self.failed.get_or_insert_with(Instant::now);
        }
    }
}

fn lock(current: &Mutex<Current>) -> std::sync::MutexGuard<'_, Current> {
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The call of a script with `keys` keys, which come next, and then its arguments.
pub(crate) fn evaluate(script: &Script, keys: usize) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(script.get_hash()).arg(keys);
    call
}

/// True where the connection may no longer be used.
fn is_broken(error: &RedisError) -> bool {
    // A server that became a replica, or lost our login, answers better on a connection made anew: after a
    // failover the address leads elsewhere.
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("READONLY" | "NOAUTH" | "MASTERDOWN"))
}
