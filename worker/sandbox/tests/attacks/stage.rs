//! Where an attack is tried: a worker's Python with one slot, the same without a sandbox for comparison, and a look at
//! the slot before and after.

#[path = "../../../tests/support/python.rs"]
mod python;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use protocol::error::{Code, JobError};
use protocol::id::SecretName;
use protocol::outcome::Ending;
use protocol::secret::Secret;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use worker::Metrics;
use worker::handler::Call;
use worker::python::{Isolation, Options, Python};

pub(crate) use python::{Ran, interpreter};

use crate::run::Attack;
use crate::servers;

/// What every Python file of a theme starts with.
const COMMON: &str = include_str!("common.py");
/// Looks at a slot.
const LOOK: &str = include_str!("look.py");
/// How long an attack may take, unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker's Python handlers and their directory.
pub(crate) struct Pool {
    python: Arc<Python>,
    dir: PathBuf,
}

/// What a call is given besides its source and input.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) memory_mb: u32,
    pub(crate) limit: Duration,
    pub(crate) warm: bool,
    pub(crate) egress: Option<Value>,
    pub(crate) secrets: Vec<(&'static str, String)>,
}

impl Default for Given {
    fn default() -> Self {
        Self { memory_mb: 128, limit: PATIENCE, warm: false, egress: None, secrets: Vec::new() }
    }
}

impl Pool {
    pub(crate) async fn start(isolation: Isolation, slots: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sortie-attacks-{}-{number}", std::process::id()));
        let options = Options {
            interpreter: interpreter(),
            helper: std::env::current_exe().unwrap(),
            runner_dir: dir.clone(),
            isolation,
        };
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let python = Python::start(options, slots, servers::gate().await, &metrics).await.unwrap();
        let pool = Self { python: Arc::new(python), dir };
        pool.until_loaded().await;
        pool
    }

    /// Returns when calls find the common libraries loaded: all attacks import some, and are to meet the same slot.
    async fn until_loaded(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.call(LOADED, json!({}), Given::default()).await.value() != true {
            assert!(Instant::now() < until, "the libraries are never there");
        }
    }

    /// Runs a call and stops it at its limit, as an attempt does.
    pub(crate) async fn call(&self, source: &str, input: Value, given: Given) -> Ran {
        let limit = given.limit;
        python::run(&self.python, call(source, input, given), limit).await
    }

    /// What a slot looks like to a call.
    pub(crate) async fn look(&self) -> Map<String, Value> {
        match self.call(LOOK, json!({}), Given::default()).await.value() {
            Value::Object(seen) => seen,
            other => panic!("no look: {other}"),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // What a template still holds is in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Tells whether a library had been loaded before the call, and imports it.
const LOADED: &str =
    "import sys\nbefore = 'csv' in sys.modules\nimport csv\ndef handle_event(data):\n    return before";

/// What a slot tells that no other slot does.
const SLOT: &str = "slot";

/// Where one attack at a time is tried.
pub(crate) struct Stage {
    pub(crate) pool: Pool,
    before: Map<String, Value>,
    source: String,
    function: &'static str,
    may_cost_the_slot: bool,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let pool = Pool::start(Isolation::Required, 1).await;
        let before = pool.look().await;
        Self { pool, before, source: String::new(), function: "", may_cost_the_slot: false }
    }

    /// Makes it ready for an attack.
    pub(crate) fn take(&mut self, attack: &Attack) {
        self.source = source(attack.source);
        self.function = attack.function();
        self.may_cost_the_slot = false;
    }

    /// From here on it is all right if the slot is replaced by another one.
    pub(crate) fn may_cost_the_slot(&mut self) {
        self.may_cost_the_slot = true;
    }

    /// Tries the attack in the slot; what it tells.
    pub(crate) async fn inside(&self) -> Value {
        self.inside_with(json!({})).await
    }

    /// The same with an input.
    pub(crate) async fn inside_with(&self, input: Value) -> Value {
        self.ran(input, Given::default()).await.value()
    }

    /// The same with all that can be chosen, and all that came of it.
    pub(crate) async fn ran(&self, input: Value, given: Given) -> Ran {
        self.pool.call(&self.source, with_function(input, self.function), given).await
    }

    /// Tries the same without a sandbox, to show that it could have worked.
    pub(crate) async fn outside(&self) -> Value {
        self.outside_with(json!({})).await
    }

    /// The same with an input.
    pub(crate) async fn outside_with(&self, input: Value) -> Value {
        static OPEN: OnceCell<Pool> = OnceCell::const_new();
        let pool = OPEN.get_or_init(|| Pool::start(Isolation::None, 2)).await;
        pool.call(&self.source, with_function(input, self.function), Given::default()).await.value()
    }

    /// What the slot looked like to its first call.
    pub(crate) fn before(&self) -> &Map<String, Value> {
        &self.before
    }

    /// The name of the attack.
    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// The theme's file as a handler.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The next call finds what the first one found; perhaps in another slot, which is for [`Stage::is_unharmed`] to say.
    /// What it finds.
    pub(crate) async fn assert_clean(&self) -> Map<String, Value> {
        let after = self.pool.look().await;
        for (name, before) in self.before.iter().filter(|(name, _)| *name != SLOT) {
            let now = after.get(name).unwrap_or(&Value::Null);
            assert_eq!(now, before, "{}: the next call finds another {name:?}", self.function);
        }
        after
    }

    /// The same; true if it is the same slot, too, or need not be.
    pub(crate) async fn is_unharmed(&mut self) -> bool {
        let after = self.assert_clean().await;
        let unharmed = self.may_cost_the_slot || self.before.get(SLOT) == after.get(SLOT);
        self.before = after;
        unharmed
    }
}

/// The function of a theme's file in `input`, as its `handle_event` wants it.
pub(crate) fn with_function(mut input: Value, function: &str) -> Value {
    input["function"] = function.into();
    input
}

/// A theme's file as a handler.
pub(crate) fn source(theme: &str) -> String {
    format!("{COMMON}\n{theme}\n")
}

fn call(source: &str, input: Value, given: Given) -> Call {
    let mut content = json!({
        "handler": {"kind": "python", "source": source},
        "reuse": if given.warm { "warm" } else { "fresh" },
        "memory_mb": given.memory_mb,
    });
    if let Some(egress) = given.egress {
        content["egress"] = egress;
    }
    let secrets = given.secrets.into_iter();
    let secrets = secrets.map(|(name, value)| (SecretName::new(name).unwrap(), Secret::new(value))).collect();
    Call { secrets, ..python::call(content, input, given.limit) }
}

impl Ran {
    /// It failed, or crashed, with this code.
    pub(crate) fn assert_fails(&self, code: Code) -> &JobError {
        match &self.ending {
            Ending::Failed { error, .. } | Ending::Crashed(error) if error.code == code => error,
            other => panic!("no failure {code:?}: {other:?}"),
        }
    }

    /// It was stopped at its limit, and ended soon after that.
    pub(crate) fn assert_stopped(&self, limit: Duration) {
        assert!(matches!(self.ending, Ending::Interrupted), "{:?}", self.ending);
        assert!(self.took < limit + Duration::from_secs(5), "it was not stopped in time: {:?}", self.took);
    }
}

/// Every outcome in `told` (an object, at any depth) is one of `allowed`.
pub(crate) fn assert_each(told: &Value, allowed: &[&str]) {
    fn leaves(path: String, value: &Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| leaves(format!("{path}/{name}"), value, found));
            }
            leaf => found.push((path, leaf.clone())),
        }
    }
    let mut found = Vec::new();
    leaves(String::new(), told, &mut found);
    assert!(!found.is_empty(), "nothing was tried");
    for (path, outcome) in found {
        let fits = outcome.as_str().is_some_and(|outcome| allowed.contains(&outcome));
        assert!(fits, "{path}: {outcome}, not one of {allowed:?}");
    }
}
