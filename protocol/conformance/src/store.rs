//! The rules of the store, by topic.
//! `steps.rs` has the steps that they share, and the checks that hold for every job at every time.

#![expect(missing_docs, reason = "a rule's name is its sentence")]

mod cancel;
mod claim;
mod create;
mod events;
mod expire;
mod finish;
mod heal;
mod lease;
mod list;
mod offers;
mod outbox;
mod read;
mod replies;
mod retention;
mod steps;
mod sweep;
mod together;
mod watch;

use protocol::ports::Store;

/// The store at a place of its own.
pub type Fixture = crate::Fixture<dyn Store>;

/// The one list of the store's rules.
#[doc(hidden)]
#[macro_export]
macro_rules! __every_store_rule {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments store
            create {
                a_new_job_is_queued_and_says_so
                a_job_for_later_is_scheduled_and_says_so
                a_start_time_in_the_past_means_now
                the_record_keeps_the_request_to_the_letter
                a_large_input_is_kept_to_the_letter
                the_same_id_again_is_the_same_job
                a_race_of_fifty_with_one_id_records_it_once
                the_same_key_and_request_give_the_first_job
                the_same_key_with_another_request_is_a_conflict
                keys_of_different_tenants_do_not_meet
                keys_are_compared_to_the_letter
                a_race_of_fifty_with_one_key_makes_one_job
                a_key_is_known_after_its_job_is_over
                a_key_is_forgotten_after_the_retention
                an_accepted_job_survives_a_restart
            }
            outbox {
                a_new_job_has_a_mark
                publishing_clears_the_mark
                publishing_clears_the_marks_of_many_jobs_at_once
                publishing_leaves_a_mark_that_is_newer
                publishing_clears_a_mark_that_was_taken_meanwhile
                clearing_a_mark_that_is_not_there_is_no_error
                a_mark_is_not_given_before_its_age
                a_mark_is_given_to_one_caller_only
                a_mark_that_stays_is_given_again_after_another_age
                a_job_that_is_not_queued_has_no_mark
                a_job_that_is_queued_again_has_a_mark_again
                the_outbox_gives_no_more_than_was_asked_for
                a_mark_survives_a_restart
            }
            claim {
                a_claim_starts_the_first_attempt
                an_attempt_keeps_the_isolation_that_its_worker_told
                attempts_are_numbered_one_after_the_other
                a_second_claim_is_told_that_the_job_is_held
                a_race_of_twenty_claims_starts_one_attempt
                a_lapsed_attempt_is_a_crash_and_the_next_one_starts
                at_the_crash_limit_the_job_is_given_up
                crashes_that_workers_reported_count_towards_the_limit
                a_job_whose_workers_reported_too_many_crashes_is_given_up
                failures_and_crashes_are_counted_apart
                no_attempt_starts_after_the_deadline
                a_lapsed_attempt_past_the_deadline_is_not_followed_by_another
                a_scheduled_job_is_not_due
                a_job_that_is_over_is_not_started
                a_job_that_is_to_be_cancelled_is_not_started_again
                a_lease_and_an_attempt_survive_a_restart
                jobs_of_many_tenants_run_side_by_side
            }
            lease {
                renewing_holds_an_attempt_beyond_its_lease
                a_lapsed_lease_that_nobody_noticed_is_held_again
                an_older_attempt_is_told_that_it_is_lost
                an_attempt_that_was_reaped_is_told_that_it_is_lost
                an_attempt_of_a_job_that_is_over_is_told_that_it_is_lost
                a_request_to_cancel_is_told_with_every_renewal
                renewals_are_answered_one_by_one_in_order
            }
            events {
                events_are_numbered_on_across_attempts
                every_kind_of_event_is_kept_to_the_letter
                a_batch_that_is_sent_again_adds_nothing
                a_batch_that_overlaps_adds_only_what_is_new
                a_batch_sent_by_ten_at_once_is_added_once
                ordinals_that_never_came_leave_no_gap
                an_empty_batch_adds_nothing
                an_older_attempt_adds_nothing
                a_job_that_is_over_takes_no_events
                a_request_to_cancel_does_not_stop_events
                ten_thousand_events_come_back_in_order
                large_events_come_back_to_the_letter
                events_survive_a_restart
            }
            finish {
                a_success_ends_the_job_with_its_result
                a_failure_ends_the_job_with_its_error
                an_attempt_that_met_the_deadline_ends_the_job_as_expired
                an_attempt_that_was_cancelled_ends_the_job_as_cancelled
                a_failed_attempt_keeps_its_error
                a_retry_waits_for_its_time_and_starts_the_next_attempt
                an_attempt_that_is_given_back_counts_for_nothing
                the_last_events_come_before_the_end_and_once
                a_second_finish_is_late_and_changes_nothing
                an_older_attempt_finishes_late
                of_many_ends_at_once_one_wins
                a_large_result_is_kept_to_the_letter
                nothing_changes_a_job_that_is_over
                an_end_survives_a_restart
            }
            cancel {
                a_job_that_does_not_run_is_cancelled_at_once
                a_running_job_is_cancelled_when_its_worker_says_so
                a_result_that_was_quicker_than_the_request_stands
                a_job_to_be_cancelled_is_neither_retried_nor_given_back
                a_job_to_be_cancelled_whose_worker_is_lost_is_cancelled
                a_job_that_is_over_stays_as_it_ended
                a_job_of_nobody_or_of_another_tenant_is_not_found
                a_cancelled_job_is_never_due
                a_race_of_claim_and_cancel_has_one_end
            }
            sweep {
                a_scheduled_job_is_due_when_its_time_has_come
                a_due_job_is_moved_by_one_caller_only
                no_more_jobs_are_moved_than_was_asked_for
                a_schedule_survives_a_restart
                a_lapsed_attempt_is_reaped_and_its_job_queued_again
                an_attempt_with_a_living_lease_is_left_alone
                a_lapsed_attempt_is_reaped_by_one_caller_only
                a_race_of_reaping_and_claiming_counts_one_crash
                reaping_at_the_crash_limit_gives_the_job_up
                reaping_after_the_deadline_ends_the_job_as_expired
                a_lease_that_lapses_during_a_restart_is_noticed
            }
            expire {
                a_queued_job_expires_at_its_deadline
                a_scheduled_job_expires_at_its_deadline
                a_running_job_expires_after_the_grace_only
                a_worker_can_report_within_the_grace
                a_claim_keeps_the_grace_too
                a_job_to_be_cancelled_expires_too
                a_job_is_expired_by_one_caller_only
                a_race_of_result_and_deadline_has_one_end
                a_deadline_survives_a_restart
            }
            replies {
                a_finished_job_with_an_address_is_answered_at_once
                every_end_is_answered
                other_jobs_are_not_answered
                an_answer_is_given_to_one_caller_only
                an_answer_that_was_not_sent_is_given_again
                an_answer_that_was_sent_is_not_given_again
                an_answer_survives_a_restart
            }
            retention {
                a_finished_job_is_gone_after_the_retention
                removing_old_jobs_leaves_nothing_that_points_to_them
                a_job_that_is_not_over_is_kept
                a_job_within_its_retention_is_kept
            }
            read {
                an_unknown_job_is_nobodys
                a_job_of_another_tenant_cannot_be_read
                reading_changes_nothing
                readers_may_start_at_any_event_and_see_the_same
                a_page_says_whether_more_will_come
                numbers_beyond_every_bound_are_answered
                what_one_client_writes_another_reads_at_once
                a_ping_of_the_store_is_answered
            }
            list {
                the_newest_job_is_listed_first
                pages_have_no_gap_and_no_repeat
                a_page_goes_on_where_the_one_before_ended
                a_list_can_be_limited_to_states
                a_list_can_be_limited_to_an_action
                a_list_can_be_limited_to_a_label
                a_list_can_be_limited_to_dead_letters
                filters_work_together_and_across_pages
                a_list_shows_the_tenants_own_jobs_only
                a_list_shows_every_end
            }
            watch {
                a_watch_wakes_on_every_change
                who_waits_for_an_end_reads_it_as_it_is_recorded
                a_watch_wakes_when_a_waiting_job_is_cancelled
                a_watch_wakes_when_a_sweep_ends_the_job
                who_waits_for_the_end_wakes_however_the_job_ends
                every_watch_on_a_job_wakes
                no_event_is_missed_between_watch_and_read
                a_watch_can_be_made_before_its_job
                who_follows_a_job_that_runs_wakes_from_then_on
                a_worker_that_watches_for_a_cancel_wakes
                watches_on_nothing_do_no_harm
                a_pace_is_heard_of_when_a_job_has_ended
            }
            together {
                many_jobs_at_once_are_recorded_each_by_itself
                many_jobs_at_once_are_claimed_each_by_itself
                many_attempts_at_once_end_each_by_itself
            }
            offers {
                an_offer_that_nobody_waits_for_is_none
                an_offer_is_told_to_one_worker_that_serves_the_lane
                an_offer_starts_nothing_that_is_not_recorded
                a_worker_is_offered_one_job_after_the_other
            }
            heal {
                a_claim_restores_an_unknown_job
                a_renewal_restores_an_unknown_attempt
                an_append_restores_an_unknown_attempt
                a_finish_restores_an_unknown_attempt
                a_restored_attempt_outdates_the_ones_before
                an_unknown_job_past_its_deadline_is_not_started
                an_unknown_job_for_later_is_scheduled_again
                a_race_to_restore_a_job_starts_one_attempt
                a_restored_job_ends_like_any_other
            }
        }
    };
}

__every_store_rule! { __listed () }
