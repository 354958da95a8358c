//! Where settings come from: flags over environment over file over defaults, each with its origin.
//!
//! The only place that reads the environment (directly, or through clap). What it gives, `Layers`, is plain
//! data, so that tests of the rules never touch the process's own environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _};
use toml::de::{DeTable, DeValue};

use super::Problem;
use crate::cli::Server;

/// The text of every setting that has one, by name.
pub(crate) type Layers = BTreeMap<String, Text>;

/// A setting as someone wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// The text.
    pub(crate) text: String,
    /// Who wrote it.
    pub(crate) origin: Origin,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// A line of the file.
    File(PathBuf, usize),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The settings on the command line, in the environment and in the file that these name.
pub(crate) fn layers(matches: &ArgMatches, problems: &mut Vec<Problem>) -> Layers {
    let config = given(matches, "config");
    let mut layers = match &config {
        Some(config) => read(config, problems),
        None => Layers::new(),
    };
    let known = Server::augment_args(clap::Command::new("settings"));
    for argument in known.get_arguments().filter(|argument| *argument.get_id() != "config") {
        let id = argument.get_id().as_str();
        let default = argument.get_default_values().first().and_then(|text| text.to_str());
        if let Some(text) = given(matches, id) {
            layers.insert(id.to_owned(), text);
        } else if let (false, Some(text)) = (layers.contains_key(id), default) {
            layers.insert(id.to_owned(), Text { text: text.to_owned(), origin: Origin::Default });
        }
    }
    layers
}

/// `$XDG_DATA_HOME/sortie`, or `~/.local/share/sortie`: where data lives that nobody gave a place.
pub(crate) fn default_data() -> Option<PathBuf> {
    let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let share = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    share.map(|share| share.join("sortie"))
}

/// The folders that are searched for programs.
pub(crate) fn search_path() -> Vec<PathBuf> {
    environment("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this file is the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a flag or a variable says. An empty variable counts as none: that is how compose files and unit files
/// leave one out.
fn given(matches: &ArgMatches, id: &str) -> Option<Text> {
    let text = matches.try_get_one::<String>(id).ok().flatten()?.clone();
    match matches.value_source(id)? {
        ValueSource::CommandLine => {
            Some(Text { text, origin: Origin::Flag(format!("--{}", id.replace('_', "-"))) })
        }
        ValueSource::EnvVariable if !text.is_empty() => {
            Some(Text { text, origin: Origin::Environment(format!("SORTIE_{}", id.to_uppercase())) })
        }
        _ => None,
    }
}

fn read(config: &Text, problems: &mut Vec<Problem>) -> Layers {
    let path = Path::new(&config.text);
    match std::fs::read_to_string(path) {
        Ok(content) => parse(path, &content, problems),
        Err(error) => {
            problems.push(Problem::new(
                "config",
                Some(config),
                format!("can't be read: {error}"),
                "name a TOML file",
            ));
            Layers::new()
        }
    }
}

/// The settings in the text of a file. What isn't one is a problem of its own.
fn parse(path: &Path, content: &str, problems: &mut Vec<Problem>) -> Layers {
    let origin = |at: usize| {
        let line = content.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        Origin::File(path.to_owned(), line)
    };
    let table = match DeTable::parse(content) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let place = origin(error.span().map_or(0, |span| span.start));
            let text = Text { text: String::new(), origin: place };
            problems.push(Problem::new(
                "config",
                Some(&text),
                error.message().to_owned(),
                "the file must be TOML",
            ));
            return Layers::new();
        }
    };
    let command = Server::augment_args(clap::Command::new("settings"));
    let known: Vec<&str> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
    let mut layers = Layers::new();
    for (key, value) in table {
        let (name, place) = (key.get_ref().to_string(), origin(key.span().start));
        match plain(value.get_ref()) {
            _ if name == "config" || !known.contains(&name.as_str()) => {
                let text = Text { text: String::new(), origin: place };
                let settings = known.iter().filter(|known| **known != "config").copied().collect::<Vec<_>>();
                let hint = format!("settings are {}", settings.join(", "));
                problems.push(Problem::new(&name, Some(&text), "there is no such setting", hint));
            }
            Some(text) => {
                layers.insert(name, Text { text, origin: place });
            }
            None => {
                let text = Text { text: String::new(), origin: place };
                let message = "must be a text, a number or a list of texts";
                problems.push(Problem::new(&name, Some(&text), message, "see sortie serve --help"));
            }
        }
    }
    layers
}

/// The text of a value; the items of a list joined by commas.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| plain(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &str) -> (Layers, Vec<Problem>) {
        let mut problems = Vec::new();
        let layers = parse(Path::new("s.toml"), content, &mut problems);
        (layers, problems)
    }

    #[test]
    fn a_file_gives_texts_numbers_and_lists_with_their_lines() {
        let (layers, problems) =
            from_file("# mine\nlisten = \"127.0.0.1:1\"\nslots = 3\n\nlanes = [\"a\", \"b\"]\n");
        assert_eq!(problems, []);
        assert_eq!(layers["slots"].text, "3");
        assert_eq!(layers["lanes"].text, "a,b");
        assert_eq!(layers["lanes"].origin, Origin::File("s.toml".into(), 5));
    }

    #[test]
    fn a_file_with_unknown_names_or_other_values_says_where() {
        let (layers, problems) = from_file("slot = 3\n[listen]\nport = 1\n");
        assert!(layers.is_empty());
        assert_eq!(problems.len(), 2);
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains("slot (s.toml, line 1): there is no such setting"), "{text}");
        assert!(text.contains("listen (s.toml, line 2): must be a text"), "{text}");
        let (_, problems) = from_file("a = 1\nb = = 2\n");
        assert!(problems[0].to_string().contains("s.toml, line 2"), "{}", problems[0]);
    }

    #[test]
    fn a_flag_wins_over_the_default() {
        let command = Server::augment_args(clap::Command::new("test"));
        let matches = command.get_matches_from(["test", "--slots", "9"]);
        let layers = layers(&matches, &mut Vec::new());
        assert_eq!(layers["slots"], Text { text: "9".into(), origin: Origin::Flag("--slots".into()) });
        assert_eq!(layers["sync"].text, "full");
        assert!(!layers.contains_key("amqp_url"));
    }
}
