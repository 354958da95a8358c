//! Asks a Python interpreter what it is, by running it: a shim that is there but doesn't run doesn't count.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

/// The oldest Python that can run handlers.
pub const MINIMUM: (u32, u32) = (3, 12);

/// How long an interpreter may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the answer ever has.
const ANSWER_BYTES: u64 = 8 * 1024;

/// Runs on every Python, also one that is too old.
const SCRIPT: &str = "
import sys
print('sortie-probe')
print('%d %d %d' % sys.version_info[:3])
print(sys.executable)
print(sys.prefix)
print(sys.base_prefix)
for name in ('requests', 'ctypes'):
    try:
        __import__(name)
        print('yes')
    except Exception:
        print('no')
";

/// What an interpreter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its absolute path, as it calls itself.
    pub executable: PathBuf,
    /// Major, minor, patch.
    pub version: (u32, u32, u32),
    /// Where it is installed: its own directory, and that of the installation it was made from.
    pub prefixes: Vec<PathBuf>,
    /// True if handlers can `import requests`.
    pub has_requests: bool,
}

/// Why an interpreter can't run handlers. The message says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is no such program, or it isn't executable.
    #[error(
        "can't run the Python interpreter {}; name one of version 3.12 or newer (--python PATH or SORTIE_PYTHON), \
         `make run` prepares one", .interpreter.display()
    )]
    Start {
        /// What was to be run.
        interpreter: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ran, but not as Python does: a shim without a version behind it, for instance.
    #[error(
        "{} is no working Python ({detail}); name another one (--python PATH or SORTIE_PYTHON), \
         `make run` prepares one", .interpreter.display()
    )]
    NotPython {
        /// What was run.
        interpreter: PathBuf,
        /// What it said.
        detail: String,
    },
    /// It didn't answer in time.
    #[error("{} did not answer within {} s", .interpreter.display(), PATIENCE.as_secs())]
    Silent {
        /// What was run.
        interpreter: PathBuf,
    },
    /// It was built without `ctypes`, which the runner needs to lock itself in.
    #[error(
        "{} has no module ctypes, so it can't be isolated; name another one (--python PATH or SORTIE_PYTHON), \
         or build it again with libffi's headers (Debian: libffi-dev)", .interpreter.display()
    )]
    NoCtypes {
        /// What was run.
        interpreter: PathBuf,
    },
    /// It is older than handlers need.
    #[error(
        "{} is Python {found}; handlers need 3.12 or newer (--python PATH or SORTIE_PYTHON), \
         `make run` prepares one", .interpreter.display()
    )]
    TooOld {
        /// What was run.
        interpreter: PathBuf,
        /// Its version.
        found: String,
    },
}

/// Runs `interpreter` and checks that it can run handlers. Blocks until it has answered.
pub fn probe(interpreter: &Path) -> Result<Probe, ProbeError> {
    let (answer, complaint) = run(interpreter)?;
    read(&answer).map_or_else(
        || {
            let detail = complaint.lines().last().unwrap_or("it said nothing").chars().take(200).collect();
            Err(ProbeError::NotPython { interpreter: interpreter.into(), detail })
        },
        |(probe, has_ctypes)| {
            let (major, minor, patch) = probe.version;
            if (major, minor) < MINIMUM {
                let found = format!("{major}.{minor}.{patch}");
                return Err(ProbeError::TooOld { interpreter: interpreter.into(), found });
            }
            if !has_ctypes {
                return Err(ProbeError::NoCtypes { interpreter: interpreter.into() });
            }
            Ok(probe)
        },
    )
}

#[expect(clippy::disallowed_methods, reason = "this is the crate that starts processes")]
fn run(interpreter: &Path) -> Result<(String, String), ProbeError> {
    let failed = |source| ProbeError::Start { interpreter: interpreter.into(), source };
    let mut child = std::process::Command::new(interpreter)
        .args(["-I", "-B", "-c", SCRIPT])
        .env_clear()
        // A script such as pyenv's shim finds its own tools.
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (tell, told) = mpsc::channel();
    let (output, complaint) = (child.stdout.take(), child.stderr.take());
    std::thread::spawn(move || tell.send((text(output), text(complaint))));
    let answer = told.recv_timeout(PATIENCE);
    // After its answer there is nothing left to wait for; without one it must not stay.
    let _ = child.kill();
    child.wait().map_err(failed)?;
    answer.map_err(|_| ProbeError::Silent { interpreter: interpreter.into() })
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What could be read before an error is what there is.
        let _ = pipe.take(ANSWER_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the answer of [`SCRIPT`], and whether there is `ctypes`; `None` if it isn't one.
fn read(answer: &str) -> Option<(Probe, bool)> {
    let mut lines = answer.lines().skip_while(|line| *line != "sortie-probe").skip(1);
    let mut numbers = lines.next()?.split(' ').map(|number| number.parse().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    let executable = PathBuf::from(lines.next()?);
    let prefixes = vec![lines.next()?.into(), lines.next()?.into()];
    let has_requests = lines.next()? == "yes";
    Some((Probe { executable, version, prefixes, has_requests }, lines.next()? == "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_anything_else_is_none() {
        let (probe, has_ctypes) =
            read("noise\nsortie-probe\n3 12 1\n/venv/bin/python3\n/venv\n/usr\nyes\nno\n").unwrap();
        assert!(!has_ctypes);
        assert_eq!(probe.prefixes, [PathBuf::from("/venv"), "/usr".into()]);
        assert_eq!(probe.version, (3, 12, 1));
        assert!(probe.has_requests);
        assert_eq!(read("Python 3.12.1"), None);
        assert_eq!(read("sortie-probe\n3 twelve 1\n"), None);
    }

    #[test]
    fn what_is_missing_or_no_python_is_said_by_name() {
        let missing = probe(Path::new("/nonexistent/python3")).unwrap_err();
        assert!(matches!(missing, ProbeError::Start { .. }), "{missing}");
        assert!(missing.to_string().contains("/nonexistent/python3"));
        let other = probe(Path::new("/bin/echo")).unwrap_err();
        assert!(matches!(other, ProbeError::NotPython { .. }), "{other}");
    }
}
