//! What the processes of a slot have loaded before a call comes, and which of it a handler wants.
//!
//! A fork costs more, the more is loaded: a fresh call of a handler that imports nothing is a seventh cheaper without the
//! common libraries. A wrong guess costs time only: what isn't loaded is imported in the call.

use std::collections::HashSet;
use std::fmt;

/// What is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loaded {
    /// What the runner itself needs.
    Core,
    /// That and the common libraries (`PRELOAD` in sortie_runner/master.py).
    Libraries,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Libraries => "libraries",
        })
    }
}

/// Words of a source that may load what can't be told from it. Coroutines need asyncio.
const OPEN: [&str; 6] = ["async", "await", "eval", "exec", "importlib", "__import__"];

/// The modules of [`Loaded::Core`], by their full names.
#[derive(Debug)]
pub(super) struct Core(HashSet<String>);

impl Core {
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// What a handler with this source wants. Each line is looked at by itself: one that says `import` and isn't understood
    /// may import anything.
    pub(super) fn wanted_by(&self, source: &str) -> Loaded {
        let imports = source.lines().map(without_comment).filter(|line| has_word(line, "import"));
        if OPEN.iter().any(|word| has_word(source, word))
            || !imports.map(str::trim).all(|line| self.covers(line))
        {
            Loaded::Libraries
        } else {
            Loaded::Core
        }
    }

    /// True if the line is an import of nothing but these modules.
    fn covers(&self, line: &str) -> bool {
        let has = |name: &str| self.0.contains(name.trim());
        if let Some(names) = line.strip_prefix("import ") {
            return names.split(',').all(|name| name.trim().split(" as ").next().is_some_and(has));
        }
        let from = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import "));
        from.is_some_and(|(name, what)| has(name) && !what.ends_with('\\'))
    }
}

fn without_comment(line: &str) -> &str {
    line.split_once('#').map_or(line, |(code, _)| code)
}

fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c == '_' || c.is_alphanumeric();
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(joins) && !text[at + word.len()..].starts_with(joins))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(source: &str) -> Loaded {
        let names = ["json", "re", "os", "os.path", "collections", "collections.abc", "datetime"];
        Core::new(names.map(str::to_owned)).wanted_by(source)
    }

    #[test]
    fn handlers_that_import_what_is_there_want_no_more() {
        for source in [
            "def handle_event(data): return data",
            "import json\nimport re, os.path as path\ndef handle_event(data): return json.dumps(data)",
            "from collections.abc import (\n    Iterable,\n)\nfrom datetime import datetime  # and no other import",
            "def handle_event(data):\n    import json\n    return reimported + data['imports'] + awaiting",
        ] {
            assert_eq!(wanted(source), Loaded::Core, "{source}");
        }
    }

    #[test]
    fn others_and_those_that_are_not_understood_want_the_libraries() {
        for source in [
            "import requests",
            "import json, requests",
            "import json.tool",
            "from requests import get",
            "from . import json",
            "import json; import requests",
            "import json, \\\n  requests",
            "from json import \\\n  dumps",
            "requests = __import__('requests')",
            "import importlib",
            "def handle_event(data): exec(data['code'])",
            "try: import requests\nexcept ImportError: pass",
            "exec('import requests')",
            "async def handle_event(data): return data",
        ] {
            assert_eq!(wanted(source), Loaded::Libraries, "{source}");
        }
    }
}
