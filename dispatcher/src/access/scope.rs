//! The one table of what each verb is called and which scope it needs.

use protocol::key::Scope;

/// Everything that can be asked of a dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation; the table below says the rest")]
pub enum Verb {
    Submit,
    SubmitBatch,
    GetJob,
    WaitJob,
    ListJobs,
    ReadEvents,
    CancelJob,
    PublishAction,
    GetAction,
    ListActions,
    ListVersions,
    GetVersion,
    EnableAction,
    DisableAction,
    DeleteAction,
    TestAction,
    CreateKey,
    ListKeys,
    GetKey,
    EnableKey,
    DisableKey,
    DeleteKey,
    PutSecret,
    ListSecrets,
    DeleteSecret,
}

impl Verb {
    /// Name (in metrics and messages) and scope of the verb: the table.
    const fn row(self) -> (&'static str, Scope) {
        match self {
            Self::Submit => ("submit", Scope::JobsWrite),
            Self::SubmitBatch => ("submit_batch", Scope::JobsWrite),
            Self::GetJob => ("get_job", Scope::JobsRead),
            Self::WaitJob => ("wait_job", Scope::JobsRead),
            Self::ListJobs => ("list_jobs", Scope::JobsRead),
            Self::ReadEvents => ("read_events", Scope::JobsRead),
            Self::CancelJob => ("cancel_job", Scope::JobsWrite),
            Self::PublishAction => ("publish_action", Scope::ActionsWrite),
            Self::GetAction => ("get_action", Scope::ActionsRead),
            Self::ListActions => ("list_actions", Scope::ActionsRead),
            Self::ListVersions => ("list_versions", Scope::ActionsRead),
            Self::GetVersion => ("get_version", Scope::ActionsRead),
            Self::EnableAction => ("enable_action", Scope::ActionsWrite),
            Self::DisableAction => ("disable_action", Scope::ActionsWrite),
            Self::DeleteAction => ("delete_action", Scope::ActionsWrite),
            Self::TestAction => ("test_action", Scope::ActionsRun),
            Self::CreateKey => ("create_key", Scope::Admin),
            Self::ListKeys => ("list_keys", Scope::Admin),
            Self::GetKey => ("get_key", Scope::Admin),
            Self::EnableKey => ("enable_key", Scope::Admin),
            Self::DisableKey => ("disable_key", Scope::Admin),
            Self::DeleteKey => ("delete_key", Scope::Admin),
            Self::PutSecret => ("put_secret", Scope::SecretsWrite),
            Self::ListSecrets => ("list_secrets", Scope::SecretsWrite),
            Self::DeleteSecret => ("delete_secret", Scope::SecretsWrite),
        }
    }

    /// The verb's name, in metrics and messages.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The scope that the verb needs.
    pub const fn scope(self) -> Scope {
        self.row().1
    }
}
