//! Where a rule runs: a [`Place`] is what a backend's tests bring, a [`Fixture`] is what a rule gets.
//! Every rule has a place of its own, so rules run side by side and never meet.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::id::JobId;
use protocol::ports::{Queue, Registry, Store, StoreOptions};
use tokio::sync::Mutex;

/// The longest that a rule may take; a rule that waits for ever fails after this.
const BOUND: Duration = Duration::from_secs(60);

/// A place of its own for one rule, a folder or a prefix on a server, and how a backend is run there.
#[async_trait]
pub trait Place: Send {
    /// Starts a client of the backend here. Called again without [`Place::close`] only where it is
    /// [`Place::shared`].
    async fn open(&mut self, options: StoreOptions) -> Ports;

    /// Ends all clients, as the orderly end of their processes would. What is stored stays.
    async fn close(&mut self);

    /// Ends all clients and removes what is stored here.
    async fn remove(&mut self);

    /// Whether several processes may have it open at the same time.
    fn shared(&self) -> bool;
}

/// The ports that a backend has.
#[derive(Clone, Default)]
pub struct Ports {
    /// The queue, where the backend has one.
    pub queue: Option<Arc<dyn Queue>>,
    /// The store, where the backend has one.
    pub store: Option<Arc<dyn Store>>,
    /// The registry, where the backend has one.
    pub registry: Option<Arc<dyn Registry>>,
}

/// One of the three ports.
pub trait Port: Send + Sync {
    /// The port of this kind among those of a backend.
    fn of(ports: Ports) -> Option<Arc<Self>>;
}

impl Port for dyn Queue {
    fn of(ports: Ports) -> Option<Arc<Self>> {
        ports.queue
    }
}

impl Port for dyn Store {
    fn of(ports: Ports) -> Option<Arc<Self>> {
        ports.store
    }
}

impl Port for dyn Registry {
    fn of(ports: Ports) -> Option<Arc<Self>> {
        ports.registry
    }
}

/// A port of a backend that runs at a place of its own. Cheap to clone; clones are the same client.
pub struct Fixture<P: ?Sized> {
    port: Arc<P>,
    place: Arc<Mutex<dyn Place>>,
    options: StoreOptions,
}

impl<P: Port + ?Sized> Fixture<P> {
    async fn open(place: Arc<Mutex<dyn Place>>, options: StoreOptions) -> Self {
        let ports = place.lock().await.open(options).await;
        Self { port: P::of(ports).expect("the backend has this port"), place, options }
    }

    /// The same place after the client's process ended and started again.
    pub(crate) async fn reopened(self) -> Self {
        let options = self.options;
        self.with(options).await
    }

    /// The same place, opened with other options.
    pub(crate) async fn with(self, options: StoreOptions) -> Self {
        let Self { port, place, .. } = self;
        drop(port);
        place.lock().await.close().await;
        Self::open(place, options).await
    }

    /// Another process's client of the same place; the same client where there can be only one.
    pub(crate) async fn other(&self) -> Self {
        if self.place.lock().await.shared() {
            Self::open(self.place.clone(), self.options).await
        } else {
            self.clone()
        }
    }
}

impl<P: ?Sized> Fixture<P> {
    /// The options of the store here.
    pub(crate) fn options(&self) -> StoreOptions {
        self.options
    }
}

impl<P: ?Sized> Clone for Fixture<P> {
    fn clone(&self) -> Self {
        Self { port: self.port.clone(), place: self.place.clone(), options: self.options }
    }
}

impl<P: ?Sized> Deref for Fixture<P> {
    type Target = P;
    fn deref(&self) -> &P {
        &self.port
    }
}

/// Runs one rule at one place, with leases that nobody outlives by being slow, and cleans up behind it
/// whether it held or not. The macros call this.
pub async fn run<P, F, R>(place: impl Place + 'static, rule: F)
where
    P: Port + ?Sized + 'static,
    F: FnOnce(Fixture<P>) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let place: Arc<Mutex<dyn Place>> = Arc::new(Mutex::new(place));
    let options = StoreOptions { lease: Duration::from_secs(60), ..StoreOptions::default() };
    let fixture = Fixture::open(place.clone(), options).await;
    // A task of its own, so that a broken rule is cleaned up behind as well.
    let mut task = tokio::spawn(rule(fixture));
    let ended = tokio::time::timeout(BOUND, &mut task).await;
    if ended.is_err() {
        task.abort();
    }
    place.lock().await.remove().await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(failed)) => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => panic!("the rule did not end within {BOUND:?}"),
    }
}

/// A name that nobody else has: the prefix of one rule on a server.
pub fn unique() -> String {
    format!("t{}", JobId::generate().to_string().replace('-', ""))
}

/// A new folder, removed when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder where the system keeps temporary files.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sortie-{}", unique()));
        std::fs::create_dir_all(&path).expect("temporary files can be written");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays does no harm: the system removes temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The server that the environment variable names. Without it the test fails: a rule that was not run is
/// not a rule that holds.
#[expect(clippy::disallowed_methods, reason = "tests find their servers in the environment")]
pub fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: `make test` starts the servers that the tests need and sets it")
    })
}
