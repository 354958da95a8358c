//! Which jobs share a message, and how many share one on average. Pure.

use std::time::Duration;

use lapin::types::ShortString;
use protocol::wire::Sheet;

/// Bytes of jobs that share a message, at most: what is large gains nothing by it.
const BYTES: usize = 64 * 1024;

/// A job that is to be published.
#[derive(Debug, Clone)]
pub(crate) struct Posting {
    pub(crate) queue: ShortString,
    /// The job's id.
    pub(crate) id: ShortString,
    pub(crate) sheet: Sheet,
    /// How long its message is of use.
    pub(crate) lifetime: Duration,
    /// How many jobs may be in its message.
    pub(crate) together: usize,
}

/// Puts jobs that came at the same time into messages; `T` goes along with each. What is in one queue keeps its order.
pub(crate) fn pack<T>(postings: Vec<(Posting, T)>) -> Vec<Vec<(Posting, T)>> {
    let mut messages: Vec<Open<T>> = Vec::new();
    for (posting, other) in postings {
        let last = messages.iter_mut().rfind(|message| message.is_for(&posting));
        match last.filter(|message| message.has_room(&posting)) {
            Some(message) => message.add(posting, other),
            None => messages.push(Open::with(posting, other)),
        }
    }
    messages.into_iter().map(|message| message.postings).collect()
}

struct Open<T> {
    postings: Vec<(Posting, T)>,
    most: usize,
    bytes: usize,
}

impl<T> Open<T> {
    fn with(posting: Posting, other: T) -> Self {
        let (most, bytes) = (posting.together, posting.sheet.bytes());
        Self { postings: vec![(posting, other)], most, bytes }
    }

    fn is_for(&self, posting: &Posting) -> bool {
        self.postings.first().is_some_and(|(first, _)| first.queue == posting.queue)
    }

    fn has_room(&self, posting: &Posting) -> bool {
        self.postings.len() < self.most.min(posting.together) && self.bytes + posting.sheet.bytes() <= BYTES
    }

    fn add(&mut self, posting: Posting, other: T) {
        self.most = self.most.min(posting.together);
        self.bytes += posting.sheet.bytes();
        self.postings.push((posting, other));
    }
}

/// How many jobs have shared a message lately; 1 where nothing is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    value: f64,
    /// How many messages there were, up to the number that it looks back on.
    messages: u16,
    most: u16,
}

impl Mean {
    pub(crate) fn over(messages: u16) -> Self {
        Self { value: 1.0, messages: 0, most: messages }
    }

    /// A message had so many jobs.
    #[expect(clippy::cast_precision_loss, reason = "few jobs share a message")]
    pub(crate) fn add(&mut self, jobs: usize) {
        self.messages = (self.messages + 1).min(self.most);
        self.value += (jobs as f64 - self.value) / f64::from(self.messages);
    }

    /// About how many jobs so many messages carry.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate of a number that is far smaller"
    )]
    pub(crate) fn jobs(self, messages: u64) -> u64 {
        (messages as f64 * self.value).round() as u64
    }

    /// How many jobs a message is taken for, given what it was until now: 1, 4, 16, 64. Steps, and far apart, for each is
    /// another agreement with the server.
    pub(crate) fn step(self, now: u16) -> u16 {
        let mut step = now;
        while self.value >= 3.0 * f64::from(step) {
            step *= 4;
        }
        while step > 1 && self.value < f64::from(step) / 2.0 {
            step /= 4;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use conformance::sample;

    use super::*;

    fn posting(queue: &str, together: usize, bytes: usize) -> Posting {
        let input = sample::json(&format!(r#""{}""#, "x".repeat(bytes)));
        let sheet = Sheet::of(&protocol::job::JobSpec { input, ..sample::job() }).unwrap();
        Posting { queue: queue.into(), id: "".into(), sheet, lifetime: Duration::ZERO, together }
    }

    fn packed(postings: &[(&str, usize, usize)]) -> Vec<Vec<usize>> {
        let postings = postings.iter().map(|(queue, together, bytes)| posting(queue, *together, *bytes));
        let messages = pack(postings.zip(0..).collect());
        messages.into_iter().map(|jobs| jobs.into_iter().map(|(_, number)| number).collect()).collect()
    }

    #[test]
    fn a_job_shares_with_no_more_than_each_of_them_bears() {
        assert_eq!(packed(&[("a", 1, 0), ("a", 1, 0)]), [[0], [1]]);
        assert_eq!(packed(&[("a", 3, 0); 7]), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(packed(&[("a", 9, 0), ("a", 2, 0), ("a", 9, 0)]), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn queues_keep_their_order_and_large_jobs_to_themselves() {
        let jobs = [("a", 9, 0), ("b", 9, 0), ("a", 1, 0), ("a", 9, 0), ("b", 9, 0)];
        assert_eq!(packed(&jobs), [vec![0], vec![1, 4], vec![2], vec![3]]);
        assert_eq!(packed(&[("a", 9, 0), ("a", 9, BYTES), ("a", 9, 0)]), [[0], [1], [2]]);
    }

    #[test]
    fn a_mean_follows_and_its_steps_are_far_apart() {
        let mut mean = Mean::over(8);
        assert_eq!((mean.jobs(7), mean.step(1)), (7, 1));
        mean.add(16);
        assert_eq!((mean.jobs(10), mean.step(1)), (160, 16));
        (0..100).for_each(|_| mean.add(8));
        assert_eq!((mean.step(1), mean.step(4), mean.step(16)), (4, 4, 16));
        (0..100).for_each(|_| mean.add(1));
        assert_eq!((mean.jobs(7), mean.step(16)), (7, 1));
    }
}
