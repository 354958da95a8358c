//! A server that lost its newest writes, or holds what we never wrote.

use std::time::Duration;

use conformance::unique;
use futures_util::future::join_all;
use protocol::event::{EventBatch, EventKind, NewEvent};
use protocol::id::Lane;
use protocol::isolation::Isolation;
use protocol::job::JobSpec;
use protocol::json::Json;
use protocol::outcome::{Outcome, Verdict};
use protocol::ports::{
    Appended, Claim, Created, Finish, Finished, Idempotency, JobFilter, Kind, NewJob, Renewal, Store,
};
use protocol::state::JobState;

use crate::{BOUND, backend, clean, job, new, raw, until, url, worker};

fn success() -> Finish {
    let verdict = Verdict::Succeed(Json::parse("1".into()).unwrap());
    Finish { outcome: Outcome::Succeeded, verdict, took: Default::default(), last: EventBatch::default() }
}

fn json(spec: &JobSpec) -> String {
    serde_json::to_string(spec).unwrap()
}

/// What happened, as `attempt kind state`.
async fn story(store: &dyn Store, spec: &JobSpec) -> Vec<String> {
    let page = store.events(&spec.tenant, spec.id, 0, 100).await.unwrap().unwrap();
    let tell = |event: &protocol::event::Event| {
        let state = event.data.value()["state"].as_str().unwrap_or_default().to_owned();
        format!("{} {} {state}", event.attempt, event.kind.as_str())
    };
    page.events.iter().map(tell).collect()
}

#[tokio::test]
async fn a_job_that_was_lost_is_restored_by_whoever_holds_it() {
    let prefix = unique();
    let store = backend(&url(), &prefix).store();
    let chunk = NewEvent { kind: EventKind::Chunk, data: Json::parse("7".into()).unwrap() };
    let batch = EventBatch { first: 5, events: vec![chunk] };

    let (claimed, renewed, appended, finished) = (job(), job(), job(), job());
    let claim = store.claim(&claimed, &worker(), Isolation::None).await.unwrap();
    assert_eq!(claim, Claim::Granted { attempt: 1, failures: 0, crashes: 0 });
    assert_eq!(store.renew(&[(&renewed, 2)]).await.unwrap(), [Renewal::Held]);
    assert_eq!(store.append(&appended, 1, &batch).await.unwrap(), Appended::Stored);
    assert_eq!(store.append(&appended, 1, &batch).await.unwrap(), Appended::Stored);
    assert_eq!(store.finish(&finished, 3, &success()).await.unwrap(), Finished::Recorded);

    assert_eq!(story(&*store, &claimed).await, ["0 state queued", "1 state running"]);
    assert_eq!(story(&*store, &renewed).await, ["0 state queued", "2 state running"]);
    assert_eq!(story(&*store, &appended).await, ["0 state queued", "1 state running", "1 chunk "]);
    let told = ["0 state queued", "3 state running", "3 result succeeded"];
    assert_eq!(story(&*store, &finished).await, told);
    let job = store.get(&finished.tenant, finished.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts.len(), job.attempts[0].number), (JobState::Succeeded, 1, 3));
    assert_eq!(store.outbox(Duration::ZERO, 100).await.unwrap(), [], "nothing here is to be published");
    clean(&prefix).await;
}

#[tokio::test]
async fn an_attempt_that_was_lost_is_restored_by_its_worker() {
    let prefix = unique();
    let store = backend(&url(), &prefix).store();
    let spec = job();
    store.create(new(&spec)).await.unwrap();
    store.claim(&spec, &worker(), Isolation::None).await.unwrap();
    // The server knows of attempt 1, and the worker holds attempt 3.
    assert_eq!(store.renew(&[(&spec, 3)]).await.unwrap(), [Renewal::Held]);
    assert_eq!(store.renew(&[(&spec, 1), (&spec, 3)]).await.unwrap(), [Renewal::Lost, Renewal::Held]);
    assert_eq!(store.finish(&spec, 3, &success()).await.unwrap(), Finished::Recorded);
    let job = store.get(&spec.tenant, spec.id).await.unwrap().unwrap();
    let ended: Vec<_> = job.attempts.iter().map(|a| (a.number, a.outcome)).collect();
    assert_eq!(ended, [(1, Some(Outcome::Interrupted)), (3, Some(Outcome::Succeeded))]);
    clean(&prefix).await;
}

#[tokio::test]
async fn a_request_whose_first_caller_died_halfway_becomes_the_same_job() {
    let prefix = unique();
    let store = backend(&url(), &prefix).store();
    let key = |fingerprint: &str| Idempotency { key: "k".into(), fingerprint: fingerprint.into() };
    let create = async |spec: &JobSpec, fingerprint: &str| {
        let new = NewJob { idempotency: Some(key(fingerprint)), ..new(spec) };
        store.create(new).await.unwrap()
    };
    let (first, second) = (job(), job());
    create(&first, "f").await;
    // As if the first caller had been killed between its two steps.
    let record = format!("{prefix}:{{{:02}}}:job:{}", first.id.shard(16), first.id);
    let _: () = redis::cmd("DEL").arg(record).query_async(&mut raw().await).await.unwrap();
    assert_eq!(create(&second, "other").await, Created::Conflict);
    let Created::New(job) = create(&second, "f").await else { panic!("the job must be new") };
    assert_eq!(job.spec.id, first.id);
    assert_eq!(
        story(&*store, &first).await,
        ["0 state queued"],
        "events that were left are not the new job's"
    );
    let Created::Same(job) = create(&second, "f").await else { panic!("the job must be the same") };
    assert_eq!(job.spec.id, first.id);
    clean(&prefix).await;
}

#[tokio::test]
async fn values_that_we_never_wrote_are_corrupt_and_stop_nobody() {
    let prefix = unique();
    let (store, mut raw) = (backend(&url(), &prefix).store(), raw().await);
    let (bad, good) = (job(), job());
    for spec in [&bad, &good] {
        store.create(new(spec)).await.unwrap();
    }
    let shard = format!("{prefix}:{{{:02}}}", bad.id.shard(16));
    let record = format!("{shard}:job:{}", bad.id);
    let _: () = redis::cmd("HSET").arg(&record).arg("spec").arg("{").query_async(&mut raw).await.unwrap();
    let _: () = redis::cmd("ZADD")
        .arg(format!("{shard}:outbox"))
        .arg(0)
        .arg("nonsense")
        .query_async(&mut raw)
        .await
        .unwrap();

    let error = store.get(&bad.tenant, bad.id).await.unwrap_err();
    assert_eq!(error.kind, Kind::Corrupt);
    for _ in 0..2 {
        until("the good job is found", || async {
            (store.outbox(Duration::ZERO, 10).await.unwrap() == [good.clone()]).then_some(())
        })
        .await;
    }
    let page = store.list(&bad.tenant, &JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(page.jobs.iter().map(|job| job.spec.id).collect::<Vec<_>>(), [good.id]);

    // A key of another type.
    let _: () = redis::cmd("SET").arg(&record).arg("x").query_async(&mut raw).await.unwrap();
    assert_eq!(store.get(&bad.tenant, bad.id).await.unwrap_err().kind, Kind::Corrupt);
    assert_eq!(store.claim(&bad, &worker(), Isolation::None).await.unwrap_err().kind, Kind::Corrupt);
    clean(&prefix).await;
}

#[tokio::test]
async fn what_nobody_of_us_told_is_no_offer_and_no_end() {
    let prefix = unique();
    let (store, spec, mut raw) = (backend(&url(), &prefix).store(), job(), raw().await);
    let mut watch = store.watch(spec.id);
    tokio::time::timeout(BOUND, watch.changed()).await.expect("woken when subscribed");
    let Created::New(created) = store.create(new(&spec)).await.unwrap() else { panic!("it is new") };
    let id = spec.id;
    for news in ["", "x end", &format!("{id} end\n"), &format!("{id} end\na\nb\nc\nd"), &"x".repeat(100_000)]
    {
        redis::cmd("PUBLISH").arg(format!("{prefix}:wake")).arg(news).exec_async(&mut raw).await.unwrap();
    }
    tokio::time::timeout(BOUND, watch.ended()).await.expect("woken by what looks like an end");
    assert_eq!(store.again(&created).await.unwrap().unwrap().state, JobState::Queued);

    let mut offers = store.offers(&worker(), std::slice::from_ref(&spec.lane));
    let other = JobSpec { lane: Lane::new("other").unwrap(), ..job() };
    let long = JobSpec { input: Json::of(&"x".repeat(70_000)).unwrap(), ..job() };
    let wrong = ["", "{}", &json(&other), &json(&long)].map(str::to_owned);
    let telling = async {
        for offer in wrong {
            let told = || {
                let channel = format!("{prefix}:offer:{}", worker());
                let (mut raw, offer) = (raw.clone(), offer.clone());
                async move {
                    let publish = redis::cmd("PUBLISH").arg(channel).arg(offer).to_owned();
                    let heard: u64 = publish.query_async(&mut raw).await.unwrap();
                    (heard > 0).then_some(())
                }
            };
            until("the worker hears it", told).await;
        }
        // An offer that is late is none: once more.
        loop {
            store.offer(&spec).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let offered = async {
        tokio::select! {
            offered = offers.next() => offered,
            never = telling => never,
        }
    };
    assert_eq!(tokio::time::timeout(BOUND, offered).await.unwrap(), spec);
    clean(&prefix).await;
}

#[tokio::test]
async fn an_end_that_was_told_is_read_from_its_news_while_somebody_watches() {
    let prefix = unique();
    let store = backend(&url(), &prefix).store();
    let (small, large) = (Json::of("small").unwrap(), Json::of(&"x".repeat(600)).unwrap());
    for (result, told) in [(small, true), (large, false)] {
        let spec = job();
        let mut watch = store.watch(spec.id);
        if told {
            tokio::time::timeout(BOUND, watch.changed()).await.expect("woken when subscribed");
        }
        let Created::New(created) = store.create(new(&spec)).await.unwrap() else { panic!("it is new") };
        store.claim(&spec, &worker(), Isolation::None).await.unwrap();
        let finish = Finish { verdict: Verdict::Succeed(result), ..success() };
        assert_eq!(store.finish(&spec, 1, &finish).await.unwrap(), Finished::Recorded);
        let over = store.get(&spec.tenant, spec.id).await.unwrap().unwrap();
        let woken = async {
            while store.again(&created).await.unwrap() != Some(over.clone()) {
                watch.ended().await;
            }
        };
        tokio::time::timeout(BOUND, woken).await.expect("woken by the end");
        until("the news are heard", || async {
            clean(&prefix).await;
            let again = store.again(&created).await.unwrap();
            (again == told.then_some(over.clone())).then_some(())
        })
        .await;
        drop(watch);
        assert_eq!(store.again(&created).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_server_drops_what_is_finished_by_itself() {
    let prefix = unique();
    let (store, spec) = (backend(&url(), &prefix).store(), job());
    store.create(new(&spec)).await.unwrap();
    let key = |what: &str| format!("{prefix}:{{{:02}}}:{what}:{}", spec.id.shard(16), spec.id);
    let lives = async |what: &str| -> i64 {
        redis::cmd("PTTL").arg(key(what)).query_async(&mut raw().await).await.unwrap()
    };
    assert_eq!(lives("job").await, -1);
    store.claim(&spec, &worker(), Isolation::None).await.unwrap();
    store.finish(&spec, 1, &success()).await.unwrap();
    assert!(lives("job").await > 0);
    clean(&prefix).await;
}

#[tokio::test]
async fn what_is_wrong_with_one_job_is_nothing_to_those_that_go_together_with_it() {
    let prefix = unique();
    let (store, mut raw) = (backend(&url(), &prefix).store(), raw().await);
    let first = job();
    let specs: Vec<_> =
        (0..50).map(|_| JobSpec { id: first.id.generate_beside(), ..first.clone() }).collect();
    join_all(specs.iter().map(async |spec| store.create(new(spec)).await.unwrap())).await;
    let shard = format!("{prefix}:{{{:02}}}", first.id.shard(16));
    for spec in specs.iter().step_by(10) {
        redis::cmd("SET")
            .arg(format!("{shard}:job:{}", spec.id))
            .arg("x")
            .exec_async(&mut raw)
            .await
            .unwrap();
    }
    let claim = async |spec| store.claim(spec, &worker(), Isolation::Sandbox).await;
    for (n, claim) in join_all(specs.iter().map(claim)).await.into_iter().enumerate() {
        match claim {
            Ok(claim) => assert!(n % 10 != 0 && matches!(claim, Claim::Granted { attempt: 1, .. }), "{n}"),
            Err(_) => assert_eq!(n % 10, 0),
        }
    }
    clean(&prefix).await;
}
