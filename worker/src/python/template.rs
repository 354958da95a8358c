//! The template process of a slot, from the worker's side: started by a master, waited for, killed as a whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandbox::{Process, kill_tree};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::loaded::Loaded;
use super::master::PROCESSES;
use super::pool::Shared;
use super::slot::{Bounds, Hello, Slot};
use crate::egress::SlotGate;

/// How long a slot may take to be forked and to lock itself in, on a machine that is busy.
const START: Duration = Duration::from_secs(30);
/// The private directory of a slot in namespaces of its own, as it sees it.
const INSIDE: &str = "/tmp";

/// A template, as the keeper of its slot sees it.
pub(super) struct Template {
    process: Process,
    /// True if it is the first process of its own namespace: its end is the end of all others in it.
    alone: bool,
    /// Its private directory, where that is on our disk.
    directory: Option<PathBuf>,
    doom: CancellationToken,
    gone: CancellationToken,
}

impl Template {
    pub(super) async fn start(
        shared: &Shared,
        number: usize,
        loaded: Loaded,
        gate: &Arc<SlotGate>,
    ) -> Result<(Slot, Self), Error> {
        let alone = shared.plan.namespaces;
        let directory = (!alone).then(|| shared.slots.join(directory_name(number)));
        if let Some(path) = &directory {
            std::fs::create_dir(path).map_err(|source| Error::Files { path: path.clone(), source })?;
        }
        let master = shared.masters.with(loaded);
        let control = master.fork(directory.as_deref().unwrap_or(Path::new(INSIDE))).await?;
        let Hello { process, listener, rooms, spare } =
            tokio::time::timeout(START, Hello::hear(&control, alone))
                .await
                .map_err(|_| Error::Template("it was not ready in time".into()))?
                .map_err(|error| Error::Template(error.to_string()))?;
        if let Some(listener) = listener {
            gate.serve(listener).map_err(|error| Error::Template(error.to_string()))?;
        }
        let (doom, gone) = (CancellationToken::new(), CancellationToken::new());
        let root = process.number();
        let group = shared.groups.as_ref().map(|groups| groups.slot(number, PROCESSES)).transpose()?;
        if let Some(group) = &group {
            // The spare process was forked before the template was in the group.
            for process in [root, spare.process.number()].into_iter().flatten() {
                group.add(process)?;
            }
        }
        let bounds = Bounds { gate: gate.clone(), root, group };
        // `doom` is no child of `closing`: a slot that is in a call when the pool closes is ended by that call.
        let slot = Slot::new(
            number,
            control,
            (spare, rooms),
            (bounds, shared.demand.fit(loaded)),
            doom.clone().drop_guard(),
            gone.clone(),
        );
        Ok((slot, Self { process, alone, directory, doom, gone }))
    }

    /// Waits for the end of the template, or of its slot, and cleans up behind it.
    pub(super) async fn end(self) {
        tokio::select! {
            // Where nothing can wait for it, it had better go.
            ended = self.process.ended() => if ended.is_err() { self.kill().await },
            () = self.doom.cancelled() => self.kill().await,
        }
        self.gone.cancel();
        if let Some(directory) = self.directory {
            // The template has removed it if it could.
            let _ = spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
        }
    }

    async fn kill(&self) {
        // With the first process of a namespace the kernel kills all others; without one, we hunt them.
        match self.process.number().filter(|_| !self.alone) {
            Some(root) => {
                let _ = spawn_blocking(move || kill_tree(root)).await;
            }
            None => {
                if let Err(error) = self.process.kill() {
                    tracing::error!(%error, "a template can't be killed");
                }
            }
        }
        let _ = self.process.ended().await;
    }
}

/// A directory that no slot ever had: what a former one left there can't be met.
fn directory_name(number: usize) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{}-{number}-{}", std::process::id(), since.as_nanos())
}
