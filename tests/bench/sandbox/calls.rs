//! Calls of a handler that does nothing, through `worker::python::Python` as a worker makes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bench::job;
use protocol::action::{Content, Reuse};
use protocol::deadline::Limit;
use protocol::outcome::Ending;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker::Metrics;
use worker::egress::Gate;
use worker::handler::{Call, EventSink, Handler};
use worker::python::{Isolation, Options, Python};

/// Calls before those that count.
const WARM_UP: usize = 50;
const LIMIT: Duration = Duration::from_secs(10);

/// One kind of call.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    reuse: Reuse,
}

/// A process of its own for each call.
pub(crate) const FRESH: Kind = Kind { name: "fresh call", reuse: Reuse::Fresh };
/// The process of the call before.
pub(crate) const WARM: Kind = Kind { name: "warm call", reuse: Reuse::Warm };
pub(crate) const KINDS: [&Kind; 2] = [&FRESH, &WARM];

/// The Python side of a worker.
#[derive(Clone)]
pub(crate) struct Pool {
    python: Arc<Python>,
    metrics: Metrics,
    slots: usize,
    directory: PathBuf,
}

impl Pool {
    /// Returns when every slot is ready.
    pub(crate) async fn start(interpreter: &Path, slots: usize) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("sortie-bench-{}", std::process::id()));
        let metrics = Metrics::register(&prometheus::Registry::new())?;
        let options = Options {
            interpreter: interpreter.into(),
            helper: std::env::current_exe()?,
            runner_dir: directory.clone(),
            isolation: Isolation::Required,
        };
        let python = Python::start(options, slots, &Gate::new(&[], &[]), &metrics).await?;
        Ok(Self { python: Arc::new(python), metrics, slots, directory })
    }

    /// The time of each call, from its start to its ending, without a pause between them.
    pub(crate) async fn one_at_a_time(&self, kind: &Kind, calls: usize) -> anyhow::Result<Vec<Duration>> {
        let (pool, content) = (self.clone(), content(kind)?);
        // In a task, as in a worker: what runs outside of them is woken in another way.
        let timed = tokio::spawn(async move {
            let mut times = Vec::with_capacity(calls);
            for number in 0..WARM_UP + calls {
                let call = call(&content)?;
                let began = Instant::now();
                pool.run(call).await?;
                if number >= WARM_UP {
                    times.push(began.elapsed());
                }
            }
            anyhow::Ok(times)
        });
        timed.await?
    }

    /// Calls per second while each slot has one.
    pub(crate) async fn all_busy(&self, kind: &Kind, calls: usize) -> anyhow::Result<f64> {
        let content = content(kind)?;
        let began = Instant::now();
        let mut lanes = tokio::task::JoinSet::new();
        for _ in 0..self.slots {
            let (pool, content) = (self.clone(), content.clone());
            lanes.spawn(async move {
                for _ in 0..calls / pool.slots {
                    pool.run(call(&content)?).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        Ok((calls / self.slots * self.slots) as f64 / began.elapsed().as_secs_f64())
    }

    /// Ends all of it.
    pub(crate) fn end(self) {
        drop(self.python);
        // What templates still remove themselves stays in the temporary directory at worst.
        let _ = std::fs::remove_dir_all(self.directory);
    }

    async fn run(&self, call: Call) -> anyhow::Result<()> {
        let events = EventSink::new(self.metrics.clone());
        match self.python.run(call, events, CancellationToken::new()).await {
            Ending::Returned(_) => Ok(()),
            other => bail!("a call ended as {other:?}"),
        }
    }
}

fn content(kind: &Kind) -> anyhow::Result<Arc<Content>> {
    let content = serde_json::from_value(json!({
        "handler": {"kind": "python", "source": "def handle_event(data): return data\n"},
        "reuse": kind.reuse,
        "memory_mb": 256,
    }));
    Ok(Arc::new(content.context("the content")?))
}

fn call(content: &Arc<Content>) -> anyhow::Result<Call> {
    let spec = job("bench.noop", content.hash(), json!({"city": "Łódź", "days": 3}))?;
    let limit = Limit::Timeout(LIMIT);
    Ok(Call {
        spec: Arc::new(spec),
        attempt: 1,
        content: content.clone(),
        limit,
        secrets: Default::default(),
    })
}
