//! Calls of real Python processes: made, run as an attempt runs them, and what became of them. For the tests of the pool
//! and for the attacks on the sandbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::sample;
use protocol::action::Content;
use protocol::deadline::Limit;
use protocol::job::JobSpec;
use protocol::outcome::Ending;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use worker::Metrics;
use worker::handler::{Call, EventSink, Handler};
use worker::python::Python;

/// One finished call.
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    /// Kind and data of each event, in order.
    pub(crate) events: Vec<(&'static str, Value)>,
    pub(crate) took: Duration,
}

impl Ran {
    pub(crate) fn value(&self) -> Value {
        match &self.ending {
            Ending::Returned(value) => value.value(),
            other => panic!("no result: {other:?}"),
        }
    }

    /// All data of a kind of events.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|(found, _)| *found == kind).map(|(_, data)| data).collect()
    }
}

pub(crate) fn interpreter() -> PathBuf {
    std::env::var_os("SORTIE_TEST_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        panic!("SORTIE_TEST_PYTHON must name a Python 3.12 or newer with `requests` (`make test` sets it)")
    })
}

/// The first attempt at a job of a version with this content, without secrets.
pub(crate) fn call(content: Value, input: Value, limit: Duration) -> Call {
    let content: Content = serde_json::from_value(content).unwrap();
    let spec = JobSpec {
        action: sample::action("test.universal"),
        content_hash: content.hash(),
        input: input.into(),
        ..sample::job()
    };
    let limit = Limit::Timeout(limit);
    Call { spec: Arc::new(spec), attempt: 1, content: Arc::new(content), limit, secrets: Default::default() }
}

/// Runs a call and stops it after `limit`, as an attempt does.
pub(crate) async fn run(python: &Python, call: Call, limit: Duration) -> Ran {
    let sink = EventSink::new(Metrics::register(&prometheus::Registry::new()).unwrap());
    let stop = CancellationToken::new();
    let began = Instant::now();
    let running = python.run(call, sink.clone(), stop.clone());
    tokio::pin!(running);
    let ending = tokio::select! {
        ending = &mut running => ending,
        () = tokio::time::sleep(limit) => {
            stop.cancel();
            running.await
        }
    };
    let took = began.elapsed();
    let events = sink.rest().events.into_iter().map(|event| (event.kind.as_str(), event.data.value()));
    Ran { ending, events: events.collect(), took }
}
