//! The rules of the queue, by topic, and the steps that they share.
//! A rule bounds every wait itself, so a queue that never delivers fails it instead of hanging.

#![expect(missing_docs, reason = "a rule's name is its sentence")]

mod consume;
mod deliver;
mod depth;
mod publish;
mod together;

use protocol::id::{JobId, Lane};
use protocol::job::JobSpec;
use protocol::ports::{Consumer, Delivery, Queue};

use crate::sample::job;
use crate::wait::{never, soon, until};

/// The queue at a place of its own.
pub type Fixture = crate::Fixture<dyn Queue>;

/// The one list of the queue's rules.
#[doc(hidden)]
#[macro_export]
macro_rules! __every_queue_rule {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments queue
            publish {
                a_published_job_survives_a_restart
                a_delivery_carries_the_job_to_the_letter
                an_input_of_256_kib_arrives_whole
                every_job_of_many_publishers_arrives_once
                a_job_that_is_published_again_is_delivered_again
                an_ack_leaves_a_second_publication_of_the_job
                a_job_of_another_client_arrives
                a_lane_that_nobody_serves_keeps_its_jobs
            }
            deliver {
                a_delivery_that_is_dropped_comes_again
                a_delivery_that_is_released_comes_again_marked
                a_job_that_is_released_thirty_times_still_comes
                an_acked_job_never_comes_again
                a_delivery_that_is_out_at_a_restart_comes_again
                a_dead_letter_is_not_delivered_again
                any_text_may_be_the_reason_of_a_dead_letter
                a_delivery_can_be_acked_after_its_consumer_is_gone
                a_delivery_can_be_released_after_its_consumer_is_gone
                what_a_consumer_has_not_handed_out_goes_to_another
            }
            together {
                jobs_put_together_come_once_each
                jobs_of_every_size_can_be_put_together
                one_that_is_released_comes_again_and_the_others_can_still_be_acked
                a_dead_letter_leaves_those_that_were_put_with_it
                those_that_are_out_at_a_restart_come_again
                depth_tells_about_how_many_jobs_put_together_wait
            }
            consume {
                the_ceiling_holds_for_each_lane_and_priority
                every_end_of_a_delivery_makes_room_under_the_ceiling
                a_job_beyond_the_ceiling_goes_to_another_consumer
                jobs_of_one_priority_come_in_order
                two_consumers_never_hold_one_delivery
                lanes_are_separate
                one_consumer_serves_several_lanes
                a_consumer_of_no_lane_waits
                every_priority_is_delivered
                urgent_jobs_overtake_a_backlog
                the_ceiling_can_be_raised_and_lowered
                jobs_acked_in_any_order_under_a_changing_ceiling_come_once_each
                a_consumer_that_waits_is_woken_by_a_publish
                a_consumer_that_waits_is_woken_by_a_release
                a_wait_that_is_cancelled_loses_nothing
            }
            depth {
                depth_counts_what_waits_in_all_priorities
                depth_leaves_out_what_is_held_or_done
                depth_leaves_out_dead_letters
                a_lane_that_was_never_used_is_empty
                the_age_of_the_oldest_job_is_told_where_the_backend_knows_it
                a_ping_is_answered
            }
        }
    };
}

__every_queue_rule! { __listed () }

impl Fixture {
    /// Publishes `job`.
    async fn put(&self, job: &JobSpec) {
        soon("a publish is confirmed", self.publish(job)).await.unwrap();
    }

    /// Publishes so many ordinary jobs one after another, and gives their ids.
    async fn put_jobs(&self, count: usize) -> Vec<JobId> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let job = job();
            self.put(&job).await;
            ids.push(job.id);
        }
        ids
    }

    /// A consumer of the standard lane.
    async fn taker(&self, ceiling: u16) -> Taker {
        self.taker_of(&[Lane::standard()], ceiling).await
    }

    /// A consumer of these lanes.
    async fn taker_of(&self, lanes: &[Lane], ceiling: u16) -> Taker {
        let consumer = soon("a consumer starts", self.consume(lanes, ceiling)).await.unwrap();
        // What is consumed in the background must be so before anybody publishes: a queue that is only just being made
        // may refuse what comes.
        until("the consumer is ready", || async { self.ping().await.ok() }).await;
        Taker(consumer)
    }

    /// Everything that an ordinary job published now would find before it, acked. No other consumer may be
    /// there: it would get its share.
    async fn rest(&self) -> Vec<JobId> {
        let mut taker = self.taker(100).await;
        let mark = self.put_jobs(1).await[0];
        let mut before = Vec::new();
        loop {
            let delivery = taker.take().await;
            let id = delivery.job.id;
            delivery.ack();
            if id == mark {
                return before;
            }
            before.push(id);
        }
    }
}

/// A consumer whose waiting is bounded.
struct Taker(Box<dyn Consumer>);

impl Taker {
    /// The next delivery, which must come.
    async fn take(&mut self) -> Delivery {
        soon("a delivery comes", self.0.next()).await
    }

    /// The next deliveries, all held.
    async fn take_some(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(count);
        for _ in 0..count {
            deliveries.push(self.take().await);
        }
        deliveries
    }

    /// Nothing may come.
    async fn take_nothing(&mut self) {
        never("a delivery comes", self.0.next()).await;
    }
}
