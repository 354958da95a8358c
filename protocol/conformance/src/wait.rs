//! Waiting in rules and other tests: always for something, always with a bound.
//! A bound that is reached says what was waited for.

use std::time::Duration;

/// How long something may take that should happen at once, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long something is watched that must not happen.
const QUIET: Duration = Duration::from_millis(150);

/// Looks again and again until there is what we look for.
pub async fn until<T, F, R>(what: &str, look: F) -> T
where
    F: Fn() -> R,
    R: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, looking).await
}

/// What `future` gives, which must not take long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// Watches for a while that `future` does not end.
pub async fn never<T>(what: &str, future: impl Future<Output = T>) {
    assert!(tokio::time::timeout(QUIET, future).await.is_err(), "this must not happen: {what}");
}

/// Lets `time` and a little more pass by the wall clock: the only blind wait, for leases and ages that
/// asking for would change.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time + Duration::from_millis(30)).await;
}

/// Runs `count` tasks at once, made by `task` from 0, 1, ..., and gives what they return.
pub async fn race<T, F, R>(count: usize, task: F) -> Vec<T>
where
    F: Fn(usize) -> R,
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|number| tokio::spawn(task(number))).collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.expect("no task of a race panics"));
    }
    results
}
