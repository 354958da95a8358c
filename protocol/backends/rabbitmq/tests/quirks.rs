//! What only this backend has: a connection that can be lost, messages that anyone may have written, and
//! the inbox. The rules of the port stand in `conformance`.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use backend_rabbitmq::Queues;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use protocol::id::Lane;
use protocol::job::{Priority, ReplyTo};
use protocol::ports::{Kind, Reply, Retry};
use support::{Bench, job, soon, until};

#[tokio::test]
async fn a_lost_connection_is_built_again_with_its_consumers_and_their_ceiling() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    let mut consumer = queue.consume(&[Lane::standard()], 2).await.unwrap();
    queue.publish(&job()).await.unwrap();
    soon("a delivery before the loss", consumer.next()).await.ack();

    bench.door.shut();
    let error = until("publishing fails", async || queue.publish(&job()).await.err()).await;
    assert_eq!((error.kind, error.retry()), (Kind::Unavailable, Retry::Later));
    let asked = Instant::now();
    assert_eq!(queue.publish(&job()).await.unwrap_err().retry(), Retry::Later);
    assert_eq!(queue.ping().await.unwrap_err().retry(), Retry::Later);
    assert!(asked.elapsed() < Duration::from_secs(4), "an answer within a few seconds");

    bench.door.open();
    until("publishing works again", async || queue.publish(&job()).await.ok()).await;
    until("consuming works again", async || queue.ping().await.ok()).await;
    // Some of the publishes that failed may have got through.
    let mark = job();
    queue.publish(&mark).await.unwrap();
    let mut id = None;
    while id != Some(mark.id) {
        let delivery = soon("a delivery after the loss", consumer.next()).await;
        id = Some(delivery.job.id);
        delivery.ack();
    }
    for _ in 0..6 {
        queue.publish(&job()).await.unwrap();
    }
    // Two are out, the ceiling; the rest stays on the server.
    let held = [soon("a delivery", consumer.next()).await, soon("another", consumer.next()).await];
    until("the ceiling is kept", async || {
        (queue.depth(&Lane::standard()).await.ok()?.ready == 4).then_some(())
    })
    .await;
    drop(held);
    bench.clean(client).await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_counts_as_away() {
    let bench = Bench::new().await;
    bench.door.silence();
    let client = bench.client_of(Queues::Quorum);
    let queue = client.queue();
    assert_eq!(queue.publish(&job()).await.unwrap_err().kind, Kind::Unavailable);
    // Ends the silent connection as the peer's own end would; the next one gets through.
    bench.door.open();
    until("publishing works", async || queue.publish(&job()).await.ok()).await;
    bench.clean(client).await;
}

#[tokio::test]
async fn deliveries_that_were_out_at_the_loss_come_again() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    let job = job();
    queue.publish(&job).await.unwrap();
    let mut consumer = queue.consume(&[Lane::standard()], 1).await.unwrap();
    let before = soon("the delivery", consumer.next()).await;
    bench.door.open();
    let again = soon("the same job again", consumer.next()).await;
    assert_eq!((again.job.id, again.redelivered), (job.id, true));
    before.ack();
    again.ack();
    bench.clean(client).await;
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again_by_both_sides() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    queue.publish(&job()).await.unwrap();
    let mut consumer = queue.consume(&[Lane::standard()], 10).await.unwrap();
    soon("the delivery", consumer.next()).await.ack();
    let name = bench.jobs(Priority::Normal);
    bench.outside.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    // The publisher learns it from the message that comes back; the consumer from its cancellation.
    let wanted = job();
    until("publishing works again", async || queue.publish(&wanted).await.ok()).await;
    assert_eq!(soon("the delivery", consumer.next()).await.job.id, wanted.id);
    bench.clean(client).await;
}

#[tokio::test]
async fn a_message_that_is_no_job_ends_among_the_dead_letters() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    queue.publish(&job()).await.unwrap();
    let name = bench.jobs(Priority::Normal);
    let properties = BasicProperties::default().with_message_id("strange".into());
    let body = b"{\"v\":99,\"job\":{}}";
    bench.send("", &name, body, properties).await;
    let last = job();
    queue.publish(&last).await.unwrap();

    let mut consumer = queue.consume(&[Lane::standard()], 1).await.unwrap();
    soon("the job before it", consumer.next()).await.ack();
    // With a ceiling of one, the next comes only once the strange one is settled.
    assert_eq!(soon("the job behind it", consumer.next()).await.job.id, last.id);
    let letter = bench.fetch(&bench.name("dead")).await;
    assert_eq!(letter.data, body);
    assert_eq!(letter.properties.message_id().as_ref().unwrap().as_str(), "strange");
    let headers = letter.properties.headers().clone().unwrap();
    let reason = headers.inner().get("sortie-reason").unwrap();
    assert!(matches!(reason, AMQPValue::LongString(text) if text.to_string().contains("version 99")));
    bench.clean(client).await;
}

#[tokio::test]
async fn who_closes_hears_that_the_server_has_done_all() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    queue.publish(&job()).await.unwrap();
    let mut consumer = queue.consume(&[Lane::standard()], 1).await.unwrap();
    soon("the delivery", consumer.next()).await.ack();
    client.close().await;
    // A server that finds a connection cut drops what it has not got to yet, acks too.
    assert_eq!(bench.door.farewells(), 2);
    drop((consumer, queue));
    let client = bench.client().await;
    bench.clean(client).await;
}

#[tokio::test]
async fn who_closes_waits_for_a_dead_letter_whose_confirm_is_late() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    queue.publish(&job()).await.unwrap();
    let mut consumer = queue.consume(&[Lane::standard()], 1).await.unwrap();
    let delivery = soon("the delivery", consumer.next()).await;
    bench.door.answers(false);
    // Nearly as long as a confirm may take.
    let late = tokio::time::Instant::now() + Duration::from_millis(3_500);
    delivery.dead_letter("no worker can read it");
    let dead = bench.name("dead");
    until("it is among the dead letters", async || (bench.waiting(&dead).await == 1).then_some(())).await;
    drop((consumer, queue));
    let mut closing = tokio::spawn(client.close());
    let early = tokio::time::timeout_at(late, &mut closing).await;
    assert!(early.is_err(), "closed before the confirm");
    bench.door.answers(true);
    soon("the close", closing).await.unwrap();
    let client = bench.client().await;
    let queue = client.queue();
    let last = job();
    queue.publish(&last).await.unwrap();
    let mut consumer = queue.consume(&[Lane::standard()], 1).await.unwrap();
    assert_eq!(soon("the job behind it", consumer.next()).await.job.id, last.id);
    bench.clean(client).await;
}

#[tokio::test]
async fn a_message_that_ends_every_connection_is_put_aside() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    let (before, behind) = (job(), job());
    let name = bench.jobs(Priority::Normal);
    queue.publish(&before).await.unwrap();
    bench.send_unreadable(&name).await;
    bench.send_unreadable(&name).await;
    queue.publish(&behind).await.unwrap();

    let mut consumer = queue.consume(&[Lane::standard()], 10).await.unwrap();
    let mut missing = BTreeSet::from([before.id, behind.id]);
    while !missing.is_empty() {
        let delivery = soon("a delivery", consumer.next()).await;
        missing.remove(&delivery.job.id);
        delivery.ack();
    }
    // Good ones may be among them too: they were taken for unreadable and put back.
    let dead = bench.name("dead");
    until("both are put aside", async || (bench.waiting(&dead).await >= 2).then_some(())).await;
    bench.clean(client).await;
}

#[tokio::test]
async fn hundreds_of_publishes_are_on_their_way_before_one_is_confirmed() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    queue.publish(&job()).await.unwrap();
    bench.door.answers(false);
    let jobs: Vec<_> = std::iter::repeat_with(job).take(300).collect();
    let publishing = join_all(jobs.iter().map(|job| queue.publish(job)));
    let name = bench.jobs(Priority::Normal);
    let releasing = async {
        until("all are there", async || (bench.waiting(&name).await == 301).then_some(())).await;
        bench.door.answers(true);
    };
    let (published, ()) = tokio::join!(publishing, releasing);
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    bench.clean(client).await;
}

#[tokio::test]
async fn a_publish_that_nobody_waits_for_any_more_disturbs_no_other() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    for _ in 0..50 {
        let job = job();
        // Given up at its first wait.
        let _ = tokio::time::timeout(Duration::ZERO, queue.publish(&job)).await;
        queue.publish(&job).await.unwrap();
    }
    bench.clean(client).await;
}

#[tokio::test]
async fn what_a_busy_worker_does_not_take_goes_to_a_free_one() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let queue = client.queue();
    let mut busy = queue.consume(&[Lane::standard()], 5).await.unwrap();
    queue.publish(&job()).await.unwrap();
    let held = soon("the job of the busy one", busy.next()).await;
    for _ in 0..5 {
        queue.publish(&job()).await.unwrap();
    }
    // Four of them wait at the busy one, which does not ask for any.
    let mut free = queue.consume(&[Lane::standard()], 10).await.unwrap();
    for _ in 0..5 {
        soon("a job for the free one", free.next()).await.ack();
    }
    held.ack();
    bench.clean(client).await;
}

#[tokio::test]
async fn a_request_is_answered_with_its_correlation_id() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let inbox = client.inbox();
    let replies = bench.name("replies");
    let (options, none) = (QueueDeclareOptions::default(), FieldTable::default());
    bench.outside.queue_declare(replies.as_str().into(), options, none).await.unwrap();
    let send = async {
        until("the exchange is there", async || {
            // Its queue is declared a moment before its consumer starts; until then nothing is routed.
            queue_exists(&bench, "requests").await.then_some(())
        })
        .await;
        let mut headers = FieldTable::default();
        headers.insert("authorization".into(), AMQPValue::LongString("Bearer sk_1".into()));
        headers.insert("traceparent".into(), AMQPValue::LongString("00-1-2-01".into()));
        let properties = BasicProperties::default()
            .with_message_id("my-key".into())
            .with_headers(headers)
            .with_reply_to(replies.as_str().into())
            .with_correlation_id("7".into());
        bench.send(&bench.name("requests"), "any.key.at.all", b"{\"action\":\"a\"}", properties).await;
    };
    let (request, ()) = tokio::join!(soon("the request", inbox.next()), send);
    assert_eq!(request.body, b"{\"action\":\"a\"}");
    assert_eq!(request.message_id.as_deref(), Some("my-key"));
    assert_eq!(request.authorization.as_ref().unwrap().reveal(), "Bearer sk_1");
    assert_eq!(request.traceparent.as_deref(), Some("00-1-2-01"));

    // Dropped, it comes again.
    drop(request);
    let request = soon("the request again", inbox.next()).await;
    let to = request.reply.clone().unwrap();
    assert_eq!((to.address.as_str(), to.correlation_id.as_deref()), (replies.as_str(), Some("7")));
    inbox.reply(&to, &Reply { kind: "accepted", body: b"{}".into() }).await.unwrap();
    request.ack();
    let reply = bench.fetch(&replies).await;
    assert_eq!(reply.data, b"{}");
    assert_eq!(reply.properties.kind().as_ref().unwrap().as_str(), "accepted");
    assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), "7");
    assert_eq!(reply.properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert!(reply.properties.message_id().is_some());

    // Nobody listens: no error.
    let gone = ReplyTo { address: bench.name("gone"), correlation_id: None };
    inbox.reply(&gone, &Reply { kind: "finished", body: vec![] }).await.unwrap();
    assert_eq!(bench.waiting(&bench.name("requests")).await, 0);
    bench.clean(client).await;
}

#[tokio::test]
async fn a_direct_reply_reaches_the_client_that_asked() {
    use futures_util::StreamExt;
    let bench = Bench::new().await;
    let client = bench.client().await;
    let inbox = client.inbox();
    let direct = "amq.rabbitmq.reply-to";
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies =
        bench.outside.basic_consume(direct.into(), "".into(), options, FieldTable::default()).await.unwrap();
    let send = async {
        until("the exchange is there", async || queue_exists(&bench, "requests").await.then_some(())).await;
        let properties =
            BasicProperties::default().with_reply_to(direct.into()).with_correlation_id("8".into());
        bench.send(&bench.name("requests"), "", b"{}", properties).await;
    };
    let (request, ()) = tokio::join!(soon("the request", inbox.next()), send);
    let to = request.reply.clone().unwrap();
    assert!(to.address.starts_with("amq.rabbitmq.reply-to."), "{}", to.address);
    inbox.reply(&to, &Reply { kind: "finished", body: b"{\"id\":1}".into() }).await.unwrap();
    request.ack();
    let reply = soon("the reply", replies.next()).await.unwrap().unwrap();
    assert_eq!(reply.data, b"{\"id\":1}");
    bench.clean(client).await;
}

#[tokio::test]
async fn wrong_credentials_are_told_as_such() {
    let bench = Bench::new().await;
    let url = format!("amqp://guest:wrong@127.0.0.1:{}/%2f", bench.door.port);
    let options =
        backend_rabbitmq::Options { url: url.into(), prefix: bench.prefix.clone(), queues: Queues::Quorum };
    let client = backend_rabbitmq::connect(options).unwrap();
    let queue = client.queue();
    let error = until("the refusal", async || {
        queue.publish(&job()).await.err().filter(|error| error.kind == Kind::Denied)
    })
    .await;
    assert_eq!(error.retry(), Retry::Never);
    bench.clean(client).await;
}

#[tokio::test]
async fn queues_of_another_kind_are_told_with_what_mends_it() {
    let bench = Bench::new().await;
    let first = bench.client().await;
    first.queue().publish(&job()).await.unwrap();
    let second = bench.client_of(Queues::Classic);
    let dead = bench.name("dead");
    until("the refusal", async || {
        let told = chain(&second.queue().publish(&job()).await.err()?);
        (told.contains("--queues") && told.contains(&dead)).then_some(())
    })
    .await;
    second.close().await;
    bench.clean(first).await;
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether the queue is there and bound. Looked at on a channel that may fail.
async fn queue_exists(bench: &Bench, name: &str) -> bool {
    let channel = bench.look().await;
    let options = QueueDeclareOptions::durable().passive();
    let found = channel.queue_declare(bench.name(name).as_str().into(), options, FieldTable::default()).await;
    found.is_ok_and(|queue| queue.consumer_count() > 0)
}
