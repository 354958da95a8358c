//! Claiming: what becomes of a delivered job, and of an attempt whose worker is gone.

use protocol::deadline::GRACE;
use protocol::id::WorkerId;
use protocol::isolation::Isolation;
use protocol::job::{JobSpec, Reason};
use protocol::lifecycle::{End, worker_lost};
use protocol::outcome::Outcome;
use protocol::ports::Claim;
use protocol::state::JobState;
use protocol::time::Timestamp;

use super::Work;
use super::head::Head;
use crate::error::Failure;

/// What to do with a delivered job.
#[derive(Debug, PartialEq)]
enum Decision {
    Answer(Claim),
    Expire,
    /// The attempt that runs has lost its lease: end it, then look again.
    Lapsed,
    Grant,
}

fn decide(head: &Head, now: Timestamp) -> Decision {
    match head.state {
        state if state.is_terminal() => Decision::Answer(Claim::Over(state)),
        // The worker reports first; the sweeper takes over after the same grace.
        JobState::Running if head.is_held(now) && now < head.deadline.plus(GRACE) => {
            Decision::Answer(Claim::Held)
        }
        JobState::Running if !head.is_held(now) => Decision::Lapsed,
        _ if now >= head.deadline => Decision::Expire,
        JobState::Queued => Decision::Grant,
        // Also where its time has just come: `due` publishes it.
        _ => Decision::Answer(Claim::NotDue),
    }
}

/// What becomes of a job whose worker is gone.
#[derive(Debug, PartialEq)]
enum Lapse {
    End(End),
    Requeue,
}

/// `crashes` counts the attempt that has just been lost; `limit` gives the job up.
fn lapse(head: &Head, spec: &JobSpec, crashes: u32, limit: u32, now: Timestamp) -> Lapse {
    if now >= head.deadline {
        Lapse::End(End::expired(spec))
    } else if head.cancel_requested {
        Lapse::End(End::cancelled())
    } else if crashes >= limit {
        Lapse::End(End::given_up(crashes))
    } else {
        Lapse::Requeue
    }
}

impl Work<'_> {
    /// See `Store::claim`.
    pub(super) fn claim(
        &self,
        spec: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, Failure> {
        let mut head = self.head_or_record(spec)?;
        self.claim_of(&mut head, spec, worker, isolation)
    }

    /// See `Store::claim_offered`.
    pub(super) fn claim_known(
        &self,
        spec: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Option<Claim>, Failure> {
        match Head::load(self, spec.id)? {
            Some(mut head) => self.claim_of(&mut head, spec, worker, isolation).map(Some),
            None => Ok(None),
        }
    }

    fn claim_of(
        &self,
        head: &mut Head,
        spec: &JobSpec,
        worker: &WorkerId,
        isolation: Isolation,
    ) -> Result<Claim, Failure> {
        if decide(head, self.now) == Decision::Lapsed {
            self.lose(head, spec)?;
        }
        match decide(head, self.now) {
            Decision::Answer(claim) => Ok(claim),
            Decision::Expire => {
                self.expire_one(head, spec)?;
                Ok(Claim::Over(head.state))
            }
            // `lose` leaves no attempt that runs.
            Decision::Lapsed => Ok(Claim::Held),
            Decision::Grant => self.grant(head, worker, isolation),
        }
    }

    /// Starts the next attempt, unless too many have crashed: workers may have reported the last of them.
    fn grant(&self, head: &mut Head, worker: &WorkerId, isolation: Isolation) -> Result<Claim, Failure> {
        let failures = self.count(head, &[Outcome::Failed, Outcome::TimedOut])?;
        let crashes = self.count(head, &[Outcome::Crashed])?;
        if crashes >= self.options.crashes {
            self.end(head, &End::given_up(crashes))?;
            return Ok(Claim::Over(head.state));
        }
        let attempt = head.attempt + 1;
        self.run(head, attempt, worker, isolation)?;
        Ok(Claim::Granted { attempt, failures, crashes })
    }

    /// The head of the job, which is recorded if the store doesn't know it: it lost its newest writes.
    pub(super) fn head_or_record(&self, spec: &JobSpec) -> Result<Head, Failure> {
        match Head::load(self, spec.id)? {
            Some(head) => Ok(head),
            None => self.record(spec, false),
        }
    }

    /// Ends the attempt of a job whose worker is gone, and moves the job: over, or queued again.
    pub(super) fn lose(&self, head: &mut Head, spec: &JobSpec) -> Result<(), Failure> {
        self.end_attempt(head, Outcome::Crashed, Some(&worker_lost()))?;
        let crashes = self.count(head, &[Outcome::Crashed])?;
        match lapse(head, spec, crashes, self.options.crashes, self.now) {
            Lapse::End(end) => self.end(head, &end),
            Lapse::Requeue => self.wait(head, Reason::WorkerLost, None),
        }
    }

    /// Ends a job whose deadline passed.
    pub(super) fn expire_one(&self, head: &mut Head, spec: &JobSpec) -> Result<(), Failure> {
        let end = End::expired(spec);
        self.end_attempt(head, Outcome::TimedOut, end.error.as_ref())?;
        self.end(head, &end)
    }

    /// How many attempts of the job ended in one of these ways.
    fn count(&self, head: &Head, outcomes: &[Outcome]) -> Result<u32, Failure> {
        // The first attempt is by far the most frequent one.
        if head.attempt == 0 {
            return Ok(0);
        }
        let mut statement =
            self.prepare_cached("SELECT count(*) FROM attempts WHERE job = ?1 AND outcome = ?2")?;
        outcomes.iter().try_fold(0, |sum, outcome| {
            let count: u32 = statement.query_row((head.row, outcome.as_str()), |row| row.get(0))?;
            Ok(sum + count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::tests::head;
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn spec() -> JobSpec {
        protocol::wire::decode(include_bytes!("../../../../fixtures/envelope-v1.json").trim_ascii()).unwrap()
    }

    #[test]
    fn a_claim_is_granted_to_queued_jobs_only_and_before_the_deadline() {
        for state in JobState::ALL {
            let (before, after) = (decide(&head(state), at(1_000)), decide(&head(state), at(10_000)));
            match state {
                JobState::Queued => assert_eq!((before, after), (Decision::Grant, Decision::Expire)),
                JobState::Running => {
                    assert_eq!((before, after), (Decision::Answer(Claim::Held), Decision::Lapsed));
                }
                JobState::Scheduled | JobState::Waiting => {
                    assert_eq!((before, after), (Decision::Answer(Claim::NotDue), Decision::Expire));
                }
                over => {
                    let answer = || Decision::Answer(Claim::Over(over));
                    assert_eq!((before, after), (answer(), answer()));
                }
            }
        }
    }

    #[test]
    fn a_worker_that_holds_the_job_has_a_grace_after_the_deadline() {
        let late = Head { lease_until: Some(at(20_000)), ..head(JobState::Running) };
        assert_eq!(decide(&late, at(10_499)), Decision::Answer(Claim::Held));
        assert_eq!(decide(&late, at(10_500)), Decision::Expire);
    }

    #[test]
    fn a_lost_worker_means_deadline_then_cancellation_then_crash_limit_then_another_try() {
        let running = head(JobState::Running);
        let asked = Head { cancel_requested: true, ..running.clone() };
        assert_eq!(lapse(&asked, &spec(), 2, 2, at(10_000)), Lapse::End(End::expired(&spec())));
        assert_eq!(lapse(&asked, &spec(), 2, 2, at(3_000)), Lapse::End(End::cancelled()));
        assert_eq!(lapse(&running, &spec(), 2, 2, at(3_000)), Lapse::End(End::given_up(2)));
        assert_eq!(lapse(&running, &spec(), 1, 2, at(3_000)), Lapse::Requeue);
    }
}
