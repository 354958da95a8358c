//! Calls of scripts about jobs. Those of the way of every job (recorded, claimed, finished) go together: what comes at the same
//! moment for jobs of the same shard is one call, as long as it is the plain case. On the server the call of a script costs as much as
//! a command in it, and here as much as all that an attempt does besides.
//!
//! Nobody waits for company: who comes while nothing is under way goes at once, and who comes while a call of the same group is
//! under way goes with all others that did, when it is back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use protocol::id::JobId;
use protocol::ports::{Kind, PortError};
use redis::{RedisWrite, Value};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::scripts::{JobScript, PlainScript, Scripts};
use crate::connection::{Connection, evaluate};
use crate::fields::read;
use crate::keys::{JobKey, Keys, SHARDS};

/// The most jobs that share a call: the server does nothing else meanwhile.
const MOST: usize = 32;
/// Arguments of more bytes than this go alone.
const BYTES: usize = 16 * 1024;
/// What a script answers for a job that its plain case is not meant for.
const ALONE: &str = "alone";

/// Why a step wasn't tried.
const SILENT: &str = "the server did not answer the call before it";

/// A step of the way of every job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Create,
    Claim,
    Finish,
}

impl Step {
    const fn operation(self) -> &'static str {
        match self {
            Self::Create => "store.create",
            Self::Claim => "store.claim",
            Self::Finish => "store.finish",
        }
    }

    const fn script(self, scripts: &Scripts) -> &PlainScript {
        match self {
            Self::Create => &scripts.create,
            Self::Claim => &scripts.claim,
            Self::Finish => &scripts.finish,
        }
    }
}

/// What a script takes behind the job's id.
pub(super) type Arguments = Vec<Cow<'static, str>>;

/// Calls scripts.
pub(super) struct Calls {
    server: Arc<Server>,
    together: mpsc::UnboundedSender<Asked>,
    /// Steps that were asked for and are not answered.
    under_way: AtomicUsize,
}

/// Where the calls go.
struct Server {
    connection: Arc<Connection>,
    keys: Keys,
    scripts: Arc<Scripts>,
}

/// A step that may go together with others.
struct Asked {
    step: Step,
    job: JobId,
    arguments: Arguments,
    answer: oneshot::Sender<Result<Answer, PortError>>,
}

impl Asked {
    fn refuse(self, kind: Kind, cause: &str) {
        let error = PortError::new(kind, self.step.operation()).because(cause);
        let _ = self.answer.send(Err(error));
    }
}

impl Calls {
    /// Must be called inside a Tokio runtime.
    pub(super) fn new(connection: Arc<Connection>, keys: Keys, scripts: Arc<Scripts>) -> Self {
        let server = Arc::new(Server { connection, keys, scripts });
        let (together, asked) = mpsc::unbounded_channel();
        // Ends when this is dropped.
        Handle::current().spawn(gather(server.clone(), asked));
        Self { server, together, under_way: AtomicUsize::new(0) }
    }

    /// Runs a job script: its keys and first argument follow from the job.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        script: &JobScript,
        job: JobId,
        arguments: &[&str],
    ) -> Result<Answer, PortError> {
        self.server.run(operation, script, job, arguments).await
    }

    /// Takes a job a step further, together with others where there are some.
    pub(super) async fn step(
        &self,
        step: Step,
        job: JobId,
        arguments: Arguments,
    ) -> Result<Answer, PortError> {
        let first = UnderWay::begin(&self.under_way);
        if first.alone || arguments.iter().map(|text| text.len()).sum::<usize>() > BYTES {
            return self.server.whole(step, job, &arguments).await;
        }
        let (answer, answered) = oneshot::channel();
        let gone = || PortError::new(Kind::Unavailable, step.operation());
        self.together.send(Asked { step, job, arguments, answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Counts a step for as long as it lives.
struct UnderWay<'a> {
    count: &'a AtomicUsize,
    alone: bool,
}

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        let alone = count.fetch_add(1, Ordering::Relaxed) == 0;
        Self { count, alone }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What may go together.
type Group = (Step, u8);

/// Sends on what comes. What comes for a group while a call of it is under way goes when that is back.
async fn gather(server: Arc<Server>, mut asked: mpsc::UnboundedReceiver<Asked>) {
    let (mut waiting, mut calls) = (BTreeMap::<Group, Vec<Asked>>::new(), JoinSet::new());
    // Whose call is under way.
    let mut busy = BTreeMap::new();
    let put = |waiting: &mut BTreeMap<Group, Vec<Asked>>, one: Asked| {
        waiting.entry((one.step, one.job.shard(SHARDS))).or_default().push(one);
    };
    loop {
        tokio::select! {
            first = asked.recv() => {
                let Some(first) = first else { return };
                put(&mut waiting, first);
                // Others that were woken together with the first ask now.
                tokio::task::yield_now().await;
                while let Ok(one) = asked.try_recv() {
                    put(&mut waiting, one);
                }
            }
            Some(ended) = calls.join_next_with_id() => {
                let (task, silent) = ended.unwrap_or_else(|error| (error.id(), false));
                let group = busy.extract_if(.., |_, of| *of == task).next().map(|(group, _)| group);
                if let Some(some) = group.filter(|_| silent).and_then(|group| waiting.remove(&group)) {
                    // They have waited for the same answer, and who asks waits for one call and no longer.
                    some.into_iter().for_each(|asked| asked.refuse(Kind::Timeout, SILENT));
                }
            }
        }
        for (group, some) in &mut waiting {
            if !busy.contains_key(group) {
                let rest = some.split_off(some.len().min(MOST));
                let (server, group, some) = (server.clone(), *group, std::mem::replace(some, rest));
                let call = calls.spawn(async move { server.send(group.0, some).await });
                busy.insert(group, call.id());
            }
        }
        waiting.retain(|_, some| !some.is_empty());
    }
}

impl Server {
    /// Sends steps of one kind about jobs of one shard, and hands out the answers. True if there came none in time.
    async fn send(&self, step: Step, some: Vec<Asked>) -> bool {
        let told = if some.len() > 1 { self.several(step, &some).await } else { Ok(Vec::new()) };
        let told = match told {
            Ok(told) => told,
            Err(PortError { kind, source, .. }) => {
                let cause = source.map(|source| source.to_string()).unwrap_or_default();
                some.into_iter().for_each(|asked| asked.refuse(kind, &cause));
                return kind == Kind::Timeout;
            }
        };
        let mut told = told.into_iter();
        let answers = some.into_iter().map(|asked| {
            let told = told.next().filter(|text| text != ALONE);
            async move {
                let answer = match told {
                    Some(text) => Ok(Answer::of(step.operation(), &text)),
                    None => self.whole(step, asked.job, &asked.arguments).await,
                };
                let silent = answer.as_ref().is_err_and(|error| error.kind == Kind::Timeout);
                // Who asked may have gone.
                let _ = asked.answer.send(answer);
                silent
            }
        });
        join_all(answers).await.contains(&true)
    }

    /// The plain case for several jobs of a shard.
    async fn several(&self, step: Step, some: &[Asked]) -> Result<Vec<String>, PortError> {
        let PlainScript { several, indexes, .. } = step.script(&self.scripts);
        let mut call = evaluate(several, indexes.len() + some.len());
        for index in indexes {
            self.keys.add(&mut call, some[0].job, JobKey::Index(*index));
        }
        for asked in some {
            self.keys.add(&mut call, asked.job, JobKey::Job);
        }
        for asked in some {
            call.write_arg_fmt(asked.job);
            asked.arguments.iter().for_each(|text| call.write_arg(text.as_bytes()));
        }
        self.connection.script(step.operation(), several, &call).await
    }

    async fn whole(
        &self,
        step: Step,
        job: JobId,
        arguments: &[Cow<'static, str>],
    ) -> Result<Answer, PortError> {
        let arguments: Vec<&str> = arguments.iter().map(|text| &**text).collect();
        self.run(step.operation(), &step.script(&self.scripts).whole, job, &arguments).await
    }

    async fn run(
        &self,
        operation: &'static str,
        script: &JobScript,
        job: JobId,
        arguments: &[&str],
    ) -> Result<Answer, PortError> {
        let mut call = evaluate(&script.script, script.keys.len());
        for key in &script.keys {
            self.keys.add(&mut call, job, *key);
        }
        call.write_arg_fmt(job);
        call.arg(arguments);
        let answer = self.connection.script(operation, &script.script, &call).await?;
        match answer {
            Value::Array(_) => Ok(Answer { operation, words: read(operation, Some(answer))? }),
            text => Ok(Answer::of(operation, &read::<String>(operation, Some(text))?)),
        }
    }
}

/// What a script returned: a word that says what it did, and more.
pub(super) struct Answer {
    operation: &'static str,
    pub(super) words: Vec<String>,
}

impl Answer {
    fn of(operation: &'static str, text: &str) -> Self {
        Self { operation, words: text.split(' ').map(str::to_owned).collect() }
    }

    pub(super) fn word(&self) -> &str {
        self.after(0)
    }

    pub(super) fn after(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The error of an answer that the script can't give.
    pub(super) fn unexpected(&self) -> PortError {
        let text = format!("the script answered {:?}", self.word());
        PortError::new(Kind::Unexpected, self.operation).because(text)
    }
}
