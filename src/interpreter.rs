//! Which Python runs handlers: the one that was named, or the first that is new enough and really runs.
//!
//! A file of the right name proves nothing (version managers leave shims without a Python behind them), so
//! every candidate is run and asked what it is.

use std::path::{Path, PathBuf};

use sandbox::{Probe, ProbeError};

use crate::exit::{Exit, Failure};
use crate::settings::{Settings, search_path};

/// What came of the search: the interpreter, and why those before it won't do.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// The first that will do.
    pub(crate) found: Option<Probe>,
    /// Those that were asked before it in vain.
    pub(crate) refused: Vec<ProbeError>,
}

impl Search {
    /// Asks the interpreter that was named, else every candidate in turn.
    pub(crate) async fn run(named: Option<PathBuf>, data: PathBuf) -> Self {
        let ask = move || {
            let candidates = named.map_or_else(|| candidates(&data, &search_path()), |path| vec![path]);
            let mut search = Self::default();
            for path in candidates {
                match sandbox::probe(&path) {
                    Ok(probe) => {
                        search.found = Some(probe);
                        break;
                    }
                    Err(error) => search.refused.push(error),
                }
            }
            search
        };
        tokio::task::spawn_blocking(ask).await.unwrap_or_default()
    }

    /// Why there is none, one candidate a line.
    pub(crate) fn complaint(&self) -> String {
        match self.refused.as_slice() {
            [] => "there is no Python in DATA/python and none on the PATH".to_owned(),
            refused => refused.iter().map(why).collect::<Vec<_>>().join("\n  "),
        }
    }
}

/// Why this one won't do, in few words: how to mend it is said once, for all of them.
fn why(refused: &ProbeError) -> String {
    match refused {
        ProbeError::Start { interpreter, source } => {
            format!("{} can't be run: {source}", interpreter.display())
        }
        ProbeError::NotPython { interpreter, detail } => {
            format!("{} is no working Python ({})", interpreter.display(), detail.trim())
        }
        ProbeError::Silent { interpreter } => format!("{} gave no answer", interpreter.display()),
        ProbeError::TooOld { interpreter, found } => format!("{} is Python {found}", interpreter.display()),
        ProbeError::NoCtypes { interpreter } => {
            format!("{} has no module ctypes, so that handlers can't be isolated", interpreter.display())
        }
    }
}

/// How to get a Python for handlers.
pub(crate) const MEND: &str =
    "run `deploy/python/prepare DATA/python`, or name one with --python or SORTIE_PYTHON";

/// The interpreter for these settings, or why there is none.
pub(crate) async fn choose(settings: &Settings) -> Result<Probe, Failure> {
    let search = Search::run(settings.python.clone(), settings.data.clone()).await;
    search.found.clone().ok_or_else(|| {
        let message = format!("no Python {} or newer for handlers:\n  {}", oldest(), search.complaint());
        Failure::new(Exit::Configuration, message).hint(MEND)
    })
}

/// The oldest version that runs handlers, as text.
pub(crate) fn oldest() -> String {
    format!("{}.{}", sandbox::MINIMUM.0, sandbox::MINIMUM.1)
}

/// A version as text.
pub(crate) fn version(probe: &Probe) -> String {
    let (major, minor, patch) = probe.version;
    format!("{major}.{minor}.{patch}")
}

/// Files that may be a Python, the best first: the prepared environment, then every folder of the PATH by
/// version (3.12 is what handlers are promised; newer ones work too).
fn candidates(data: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let names = ["python3.12", "python3.13", "python3.14", "python3"];
    let on_path = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut files: Vec<PathBuf> = Vec::new();
    for file in std::iter::once(data.join("python/bin/python")).chain(on_path) {
        if file.is_file() && !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(name: &str, text: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sortie-python-{}", protocol::id::JobId::generate()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_shim_without_a_python_behind_it_does_not_count() {
        let shim = script("python3.12", "#!/bin/sh\necho 'no version is set' >&2\nexit 127\n");
        let search = Search::run(Some(shim), "/nowhere".into()).await;
        assert_eq!(search.found, None);
        assert!(search.complaint().contains("no version is set"), "{}", search.complaint());
    }

    #[test]
    fn the_prepared_environment_comes_first_and_3_12_before_newer() {
        let newer = script("python3.13", "");
        let (folder, data) = (newer.parent().unwrap().to_owned(), newer.parent().unwrap().join("data"));
        let (older, prepared) = (folder.join("python3.12"), data.join("python/bin/python"));
        std::fs::create_dir_all(prepared.parent().unwrap()).unwrap();
        std::fs::write(&older, "").unwrap();
        std::fs::write(&prepared, "").unwrap();
        assert_eq!(candidates(&data, &[folder.clone(), folder]), [prepared, older, newer]);
    }
}
