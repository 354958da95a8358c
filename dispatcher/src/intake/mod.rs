//! How a request becomes a job: resolve, validate, admit, create, publish. No step before `create` leaves
//! a trace, and after it the job is accepted, whatever happens to this process.

pub(crate) mod admit;
pub(crate) mod batch;
mod create;
pub(crate) mod explain;
pub(crate) mod marks;
mod parse;
pub(crate) mod publish;
pub(crate) mod resolve;
mod validate;

use protocol::error::{Code, Problem};
use protocol::hub::Watch;
use protocol::job::Job;
use protocol::state::JobState;
use protocol::time::Timestamp;

pub use batch::Batch;
pub use parse::{Origin, Submit};
pub(crate) use parse::{empty_object, invalid, read, read_outside, read_part};

use crate::access::{Caller, Verb};
use crate::dispatcher::Dispatcher;
use crate::trouble;
use create::Recorded;
use resolve::Run;

/// The job of an accepted request.
#[derive(Debug)]
pub struct Accepted {
    /// As it was when the request was answered.
    pub job: Job,
    /// Made before the job was, if it is new: whoever waits need not look whether it is over already.
    pub(crate) watch: Option<Watch>,
}

/// Accepts a request for a published action.
pub(crate) async fn submit(
    dispatcher: &Dispatcher,
    caller: &Caller,
    submit: Submit,
    origin: Origin,
) -> Result<Accepted, Problem> {
    let accepted = recorded(dispatcher, caller, submit, origin).await?;
    accepted.publish(dispatcher, 1).await;
    Ok(accepted)
}

/// The same for who waits for the job's end anyway, and so need not wait for the queue's confirm: a job that is recorded is
/// accepted, and its mark in the outbox stands for it until the queue has it.
pub(crate) async fn submit_to_wait(
    dispatcher: &Dispatcher,
    caller: &Caller,
    submit: Submit,
    origin: Origin,
) -> Result<Accepted, Problem> {
    let accepted = recorded(dispatcher, caller, submit, origin).await?;
    if accepted.is_to_be_published() {
        let (publisher, spec) = (dispatcher.clone(), accepted.job.spec.clone());
        // By a task that the dispatcher waits for when it stops.
        dispatcher.tasks().spawn(async move { publish::publish(&publisher, &spec, 1).await });
    }
    Ok(accepted)
}

/// Accepts a request for what has been resolved.
pub(crate) async fn accept(
    dispatcher: &Dispatcher,
    caller: &Caller,
    run: Run,
    submit: Submit,
    origin: Origin,
) -> Result<Accepted, Problem> {
    let accepted = record(dispatcher, caller, run, submit, origin).await?;
    accepted.publish(dispatcher, 1).await;
    Ok(accepted)
}

impl Accepted {
    /// Puts the job, one of so many that came in the same request, on the queue, if it is new and may run now. Should the
    /// mark of one that isn't new still be in the outbox, the sweep is on its way to it.
    async fn publish(&self, dispatcher: &Dispatcher, came: usize) {
        if self.is_to_be_published() {
            publish::publish(dispatcher, &self.job.spec, came).await;
        }
    }

    /// True if it is new and may run now.
    fn is_to_be_published(&self) -> bool {
        self.watch.is_some() && self.job.state == JobState::Queued
    }
}

/// Records the job of a request for a published action.
async fn recorded(
    dispatcher: &Dispatcher,
    caller: &Caller,
    submit: Submit,
    origin: Origin,
) -> Result<Accepted, Problem> {
    let run = published(dispatcher, caller, &submit).await?;
    record(dispatcher, caller, run, submit, origin).await
}

/// What a request for a published action runs, if the caller may.
async fn published(dispatcher: &Dispatcher, caller: &Caller, submit: &Submit) -> Result<Run, Problem> {
    caller.require(Verb::Submit)?;
    caller.require_action(&submit.action)?;
    let (registry, known) = (&**dispatcher.registry(), dispatcher.known());
    resolve::published(registry, known, caller.tenant(), &submit.action, submit.version, false).await
}

/// Records the job of a request. It is accepted then, but not yet on the queue.
async fn record(
    dispatcher: &Dispatcher,
    caller: &Caller,
    run: Run,
    submit: Submit,
    origin: Origin,
) -> Result<Accepted, Problem> {
    validate::input(&run, &submit.input).await?;
    let now = Timestamp::now();
    let ceiling = dispatcher.options().deadline_ceiling;
    let times = admit::times(now, submit.run_at, submit.deadline_ms, run.terms.deadline_ms, ceiling)?;
    dispatcher.still_open()?;
    dispatcher.queue_health().admit()?;

    let draft = run.version.is_none().then_some(&run);
    let idempotency = create::idempotency(&submit, &origin, draft)?;
    let beside = origin.beside;
    let spec = create::spec(caller, &run, submit, origin, times, now);
    if !dispatcher.see_lane(&spec.lane) {
        return Err(Problem::at(
            Code::FieldInvalid,
            "/lane",
            "too many lanes are in use; take one that workers serve",
        ));
    }
    let watch = dispatcher.store().watch(spec.id);
    // A worker with nothing to do may start a single job before the queue has it. Where a key decides whose job it is, there is
    // nothing to offer yet.
    let offered = (beside.is_none() && idempotency.is_none() && spec.run_at.is_none()).then(|| spec.clone());
    let offer = async {
        if let Some(job) = offered
            && let Err(error) = dispatcher.store().offer(&job).await
        {
            tracing::debug!(job = %job.id, cause = trouble::causes(&error), "not offered; the queue brings it");
        }
    };
    let (recorded, ()) = tokio::join!(create::record(&**dispatcher.store(), spec, idempotency), offer);
    match recorded? {
        Recorded::New(job) => {
            dispatcher.metrics().accepted();
            Ok(Accepted { job, watch: Some(watch) })
        }
        Recorded::Same(job) => Ok(Accepted { job, watch: None }),
    }
}
