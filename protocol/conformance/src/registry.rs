//! The rules of the registry, by topic.
//! What `protocol/src/ports/registry.rs` promises, one function for each sentence.

#![expect(missing_docs, reason = "a rule's name is its sentence")]

mod actions;
mod contents;
mod keys;
mod secrets;
mod versions;

use protocol::action::{Action, Content};
use protocol::id::{ActionName, TenantId};
use protocol::ports::{Published, Registry};

use crate::sample::{action, content};

/// The registry at a place of its own.
pub type Fixture = crate::Fixture<dyn Registry>;

/// The one list of the registry's rules.
#[doc(hidden)]
#[macro_export]
macro_rules! __every_registry_rule {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments registry
            versions {
                the_first_publication_makes_version_one
                every_new_content_makes_the_next_version
                the_same_content_makes_no_new_version
                an_older_content_makes_a_new_version
                a_version_that_is_not_there_is_nobodys
                a_race_of_twenty_contents_gives_twenty_numbers
                a_race_of_one_content_makes_one_version
                tenants_number_and_see_their_own_versions
                a_large_content_is_kept_to_the_letter
                versions_survive_a_restart
            }
            contents {
                the_content_of_every_version_is_read_by_its_hash
                an_unknown_hash_has_no_content
                a_content_of_another_tenant_cannot_be_read
                a_draft_is_read_by_its_hash_and_is_no_version
                a_draft_can_become_a_version
            }
            actions {
                the_switch_is_set_with_a_publication_or_left
                a_content_that_is_there_already_still_sets_the_switch
                the_switch_is_flipped_without_a_new_version
                times_of_an_action_tell_its_first_and_its_last_change
                actions_are_listed_by_name_in_pages
                a_deleted_action_is_found_no_more
                deleting_what_is_not_there_says_so
                contents_of_a_deleted_action_stay_readable
                a_name_that_is_made_again_goes_on_counting
                a_ping_of_the_registry_is_answered
            }
            keys {
                a_key_is_found_by_the_hash_of_its_secret
                a_taken_id_or_secret_is_refused
                a_race_for_one_id_has_one_winner
                keys_are_listed_by_id_for_their_tenant
                a_key_is_disabled_and_enabled
                a_deleted_key_is_found_no_more
                a_key_of_another_tenant_is_out_of_reach
                a_key_that_was_never_made_is_not_there
                keys_survive_a_restart
            }
            secrets {
                a_secret_is_read_as_it_was_sealed
                a_secret_that_is_set_again_is_replaced_and_keeps_its_first_time
                a_secret_that_was_never_set_is_not_there
                secrets_are_listed_by_name_without_what_is_sealed
                a_deleted_secret_is_found_no_more
                a_secret_of_another_tenant_is_out_of_reach
                a_race_to_set_a_secret_creates_it_once
                a_tenant_has_a_thousand_secrets_at_most
                a_large_secret_is_kept_to_the_letter
                secrets_survive_a_restart
            }
        }
    };
}

__every_registry_rule! { __listed () }

/// The tenant of most rules.
fn us() -> TenantId {
    TenantId::standard()
}

/// The action of most rules.
fn name() -> ActionName {
    action("weather.get")
}

impl Fixture {
    /// Publishes `content` for the usual action.
    async fn put(&self, content: &Content) -> Published {
        self.publish(&us(), &name(), content, None).await.unwrap()
    }

    /// Publishes a content with this source, and gives its version's number.
    async fn put_source(&self, source: &str) -> u32 {
        self.put(&content(source)).await.action.latest.number
    }

    /// The usual action, which must be there.
    async fn read(&self) -> Action {
        self.action(&us(), &name()).await.unwrap().expect("the action is there")
    }
}
