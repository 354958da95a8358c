//! Steps that rules of the store share. `story` reads a job's events as text, and checks on the way what
//! holds for every job at every time.

use std::time::{Duration, Instant};

use protocol::event::{Event, EventKind};
use protocol::id::JobId;
use protocol::isolation::Isolation;
use protocol::job::{Job, JobSpec};
use protocol::ports::{Cancelled, Claim, Confirmed, Created, Finish, Finished, Renewal, StoreOptions};
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Fixture;
use crate::sample::{chunks, job, job_in, job_with_deadline_in, new, worker};
use crate::wait::until;

/// Leases that lapse while a rule waits for it.
const SHORT_LEASE: Duration = Duration::from_millis(300);

/// A retention that passes while a rule waits for it.
const SHORT_RETENTION: Duration = Duration::from_millis(300);

impl Fixture {
    /// The same place with leases of 300 ms.
    pub(super) async fn with_short_leases(self) -> Self {
        let options = StoreOptions { lease: SHORT_LEASE, ..self.options() };
        self.with(options).await
    }

    /// The same place with a retention of 300 ms.
    pub(super) async fn with_short_retention(self) -> Self {
        let options = StoreOptions { retention: SHORT_RETENTION, ..self.options() };
        self.with(options).await
    }

    /// Records a job that must be new.
    pub(super) async fn add(&self, spec: &JobSpec) -> Job {
        match self.create(new(spec)).await.unwrap() {
            Created::New(job) => *job,
            other => panic!("expected a new job, got {other:?}"),
        }
    }

    /// A job that waits for a worker.
    pub(super) async fn queued(&self) -> JobSpec {
        let spec = job();
        self.add(&spec).await;
        spec
    }

    /// Says that the queue has the job.
    pub(super) async fn confirm(&self, job: JobId) {
        self.published(&[Confirmed { job, began: Instant::now() }]).await.unwrap();
    }

    /// A job with a running first attempt.
    pub(super) async fn running(&self) -> JobSpec {
        let spec = self.queued().await;
        assert_eq!(self.start(&spec).await, 1);
        spec
    }

    /// A job with a running first attempt and so many milliseconds to its deadline, from before it was recorded: another
    /// one where the machine took longer than that to start it.
    pub(super) async fn running_with_deadline_in(&self, millis: u64) -> JobSpec {
        until("a job starts before its deadline", || async {
            let spec = job_with_deadline_in(millis);
            self.add(&spec).await;
            matches!(self.try_start(&spec).await, Claim::Granted { .. }).then_some(spec)
        })
        .await
    }

    /// A job that is scheduled for so many milliseconds from before it was recorded: another one where the machine took
    /// longer than that to record it.
    pub(super) async fn scheduled_in(&self, millis: u64) -> JobSpec {
        until("a job is recorded before its time", || async {
            let spec = job_in(millis);
            if self.add(&spec).await.state == JobState::Scheduled {
                return Some(spec);
            }
            assert_eq!(self.cancel(&spec.tenant, spec.id).await.unwrap(), Cancelled::Now);
            None
        })
        .await
    }

    /// A job that succeeded.
    pub(super) async fn done(&self) -> JobSpec {
        let spec = self.running().await;
        self.end(&spec, 1, &crate::sample::succeed("1")).await;
        spec
    }

    /// What a claim says.
    pub(super) async fn try_start(&self, spec: &JobSpec) -> Claim {
        self.claim(spec, &worker("worker-1"), Isolation::Sandbox).await.unwrap()
    }

    /// Starts the next attempt, which must be granted, and gives its number.
    pub(super) async fn start(&self, spec: &JobSpec) -> u32 {
        match self.try_start(spec).await {
            Claim::Granted { attempt, .. } => attempt,
            other => panic!("expected a grant, got {other:?}"),
        }
    }

    /// Starts the next attempt when the lease of the one before has lapsed.
    pub(super) async fn start_when_lapsed(&self, spec: &JobSpec) -> u32 {
        until("the lease lapses", || async {
            match self.try_start(spec).await {
                Claim::Held => None,
                Claim::Granted { attempt, .. } => Some(attempt),
                other => panic!("expected a grant, got {other:?}"),
            }
        })
        .await
    }

    /// Ends an attempt, which must be the newest.
    pub(super) async fn end(&self, spec: &JobSpec, attempt: u32, how: &Finish) {
        assert_eq!(self.finish(spec, attempt, how).await.unwrap(), Finished::Recorded);
    }

    /// Adds the chunks `numbers` to an attempt, from the ordinal `first` on.
    pub(super) async fn add_chunks(
        &self,
        spec: &JobSpec,
        attempt: u32,
        first: u64,
        numbers: impl IntoIterator<Item = u64>,
    ) -> protocol::ports::Appended {
        self.append(spec, attempt, &chunks(first, numbers)).await.unwrap()
    }

    /// Renews one attempt.
    pub(super) async fn hold(&self, spec: &JobSpec, attempt: u32) -> Renewal {
        self.renew(&[(spec, attempt)]).await.unwrap()[0]
    }

    /// The job, which must be there; the same to who has read it before, whatever it was then.
    pub(super) async fn read(&self, spec: &JobSpec) -> Job {
        loop {
            let job = self.get(&spec.tenant, spec.id).await.unwrap().expect("the job is there");
            let (attempts, result) = (Vec::new(), None);
            let before = Job { state: JobState::Running, attempts, result, last_seq: 0, ..job.clone() };
            let again = self.again(&before).await.unwrap();
            if again.as_ref() == Some(&job) {
                return job;
            }
            // Others may have changed it between the two.
            assert_ne!(
                self.get(&spec.tenant, spec.id).await.unwrap().as_ref(),
                Some(&job),
                "read again: {again:?}"
            );
        }
    }

    /// The jobs of a sweep's answer.
    pub(super) fn ids<'a>(jobs: impl IntoIterator<Item = &'a JobSpec>) -> Vec<JobId> {
        let mut ids: Vec<_> = jobs.into_iter().map(|job| job.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Jobs whose outbox mark is there, taking the marks.
    pub(super) async fn marked(&self) -> Vec<JobId> {
        // A mark of this very millisecond is not yet older than nothing.
        crate::wait::pass(Duration::ZERO).await;
        Self::ids(&self.outbox(Duration::ZERO, 100).await.unwrap())
    }

    /// All events of a job.
    pub(super) async fn stream(&self, spec: &JobSpec) -> Vec<Event> {
        self.events(&spec.tenant, spec.id, 0, usize::MAX).await.unwrap().expect("the job is there").events
    }

    /// The events as text, attempt first: `1 running`, `1 chunk 7`, `1 result succeeded`. Checks that
    /// numbers have no gap, times don't go back, every change of state is in the table, and that the record
    /// and its `result` event say the same.
    pub(super) async fn story(&self, spec: &JobSpec) -> Vec<String> {
        let (events, job) = (self.stream(spec).await, self.read(spec).await);
        let mut state: Option<JobState> = None;
        let mut at = Timestamp::from_millis(0);
        let mut story = Vec::with_capacity(events.len());
        for (event, number) in events.iter().zip(1..) {
            assert_eq!(event.seq, number, "numbers have no gap");
            assert!(event.at >= at, "times don't go back");
            at = event.at;
            story.push(tell(event));
            if !matches!(event.kind, EventKind::State | EventKind::Result) {
                assert!(state.is_some_and(|state| !state.is_terminal()), "events come before the end");
                continue;
            }
            let next = event.data.value()["state"].as_str().and_then(JobState::from_name).unwrap();
            match state {
                None => assert!(matches!(next, JobState::Queued | JobState::Scheduled), "begins {next}"),
                Some(state) => assert!(state.may_become(next), "{state} became {next}: {story:?}"),
            }
            assert_eq!(next.is_terminal(), event.kind == EventKind::Result, "{story:?}");
            state = Some(next);
        }
        assert_eq!(state, Some(job.state), "{story:?}");
        assert_eq!(job.last_seq, events.len() as u64);
        assert_eq!(job.finished_at.is_some(), job.state.is_terminal());
        if job.state.is_terminal() {
            let told = events.last().unwrap().data.value();
            assert_eq!(told["result"], job.result.as_ref().map_or(serde_json::Value::Null, |r| r.value()));
            assert_eq!(told["error"], serde_json::to_value(&job.error).unwrap());
            assert!(job.attempts.iter().all(|a| a.outcome.is_some() && a.ended_at.is_some()), "{job:?}");
        }
        story
    }
}

/// One event as text.
fn tell(event: &Event) -> String {
    let data = event.data.value();
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    let told = match event.kind {
        EventKind::State => format!("{} {}", text("state"), text("reason")),
        EventKind::Result => format!("result {}", text("state")),
        kind => format!("{} {data}", kind.as_str()),
    };
    format!("{} {}", event.attempt, told.trim_end())
}
