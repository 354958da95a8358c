//! JSON Schema 2020-12 as users may write it: bounded, and without references to files or addresses.
//!
//! The `jsonschema` crate is built without its default features, so it can't fetch anything; what refers
//! outside its own document is refused here already, with its place. Patterns run on an engine without
//! backtracking, in linear time.

mod apart;

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

pub use apart::check_apart;

use crate::error::{Code, Fault, Problem};
use crate::json::MAX_DEPTH;

/// Bytes of a schema's JSON.
const MAX_BYTES: usize = 128 * 1024;
/// Parts of a schema when every reference is replaced by what it refers to: what one check may visit.
const MAX_UNFOLDED: u64 = 20_000;
/// Faults that one answer lists.
const MAX_FAULTS: usize = 20;
/// Bytes of one compiled pattern, and of all patterns of a schema together.
const PATTERN_BYTES: usize = 1 << 20;
const ALL_PATTERNS_BYTES: usize = 16 << 20;
/// Parts of a schema times bytes of a value up to which a check takes some milliseconds at most.
const QUICK: u64 = 1 << 16;

/// A schema that has been compiled once and checks any number of values.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    anything: bool,
    unfolded: Unfolded,
    patterns: usize,
}

impl Schema {
    /// Compiles a schema. `field` is its place in the request, `/input_schema` for instance.
    pub fn compile(schema: &Value, field: &str) -> Result<Self, Problem> {
        bounded(schema, field)?;
        local(schema, field)?;
        let unfolded = Unfolded::of(schema);
        if unfolded.parts > MAX_UNFOLDED {
            let message =
                "its references unfold to more than a check may cost: refer to each part fewer times";
            return Err(Problem::at(Code::SchemaTooComplex, field, message));
        }
        let patterns = patterns(schema);
        let each = (ALL_PATTERNS_BYTES / patterns.max(1)).min(PATTERN_BYTES);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex().size_limit(each).dfa_size_limit(each))
            .should_validate_formats(true)
            .build(schema)
            .map_err(|error| {
                let pointer = format!("{field}{}", error.instance_path());
                Problem::at(Code::SchemaInvalid, pointer, format!("not JSON Schema 2020-12: {error}"))
            })?;
        let anything = schema.as_object().is_some_and(Map::is_empty) || *schema == Value::Bool(true);
        Ok(Self { validator, anything, unfolded, patterns })
    }

    /// True if checking a value of so many bytes of JSON surely takes no longer than some milliseconds, and little
    /// stack. Any other check belongs on a thread ([`check_apart`]) that nobody waits for without a limit.
    pub fn is_quick(&self, bytes: usize) -> bool {
        self.anything || (self.patterns == 0 && self.is_small(bytes))
    }

    /// What is wrong with `value`, which has so many bytes of JSON; empty if it fits. All of it, up to a
    /// limit, where that is little; of a large value only the first fault, for gathering all of them can
    /// take more memory than there is.
    pub fn faults(&self, value: &Value, bytes: usize) -> Vec<Fault> {
        let fault = |error: ValidationError<'_>| {
            Fault::at(error.instance_path().to_string(), error.masked_with("the value").to_string())
        };
        if self.anything {
            Vec::new()
        } else if self.is_small(bytes) {
            self.validator.iter_errors(value).take(MAX_FAULTS).map(fault).collect()
        } else {
            self.validator.validate(value).err().map(fault).into_iter().collect()
        }
    }

    fn is_small(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        !self.unfolded.recursive && self.unfolded.parts.saturating_mul(bytes) <= QUICK
    }
}

/// Turns the short form `{"parameters": {...}, "required": [...]}` into a schema; anything else is returned
/// as it is. The short form allows further properties, as those who use it expect.
pub fn expand_short_form(schema: Value) -> Value {
    match schema {
        Value::Object(mut map) if is_short_form(&map) => {
            let mut long = Map::new();
            long.insert("type".into(), json!("object"));
            long.insert("properties".into(), map.remove("parameters").unwrap_or_else(|| json!({})));
            if let Some(required) = map.remove("required") {
                long.insert("required".into(), required);
            }
            if let Some(description) = map.remove("description") {
                long.insert("description".into(), description);
            }
            Value::Object(long)
        }
        other => other,
    }
}

/// `parameters` is no keyword of JSON Schema; with it, and with nothing that is one but `required` and
/// `description`, the short form is meant.
fn is_short_form(map: &Map<String, Value>) -> bool {
    map.get("parameters").is_some_and(Value::is_object)
        && map.keys().all(|key| matches!(key.as_str(), "parameters" | "required" | "description"))
}

fn bounded(schema: &Value, field: &str) -> Result<(), Problem> {
    let text = schema.to_string();
    if text.len() > MAX_BYTES {
        let message = format!("has {} bytes; a schema may have {MAX_BYTES}", text.len());
        return Err(Problem::at(Code::SchemaTooComplex, field, message));
    }
    if crate::json::depth(text.as_bytes()) > MAX_DEPTH {
        let message = format!("nests deeper than {MAX_DEPTH} levels");
        return Err(Problem::at(Code::SchemaTooComplex, field, message));
    }
    Ok(())
}

/// Refuses every reference that leaves the document. `$id` could give a relative reference another meaning,
/// so it may not be used either; `$schema` may name the 2020-12 dialect only.
fn local(schema: &Value, pointer: &str) -> Result<(), Problem> {
    match schema {
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (key.as_str(), value) {
                ("$ref" | "$dynamicRef", Value::String(target)) if target != "#" && !target.starts_with("#/") => {
                    let message = format!("refers to {target:?}; only references inside the schema (\"#/$defs/...\") are allowed");
                    Err(Problem::at(Code::SchemaReference, place, message))
                }
                ("$id", Value::String(_)) => {
                    Err(Problem::at(Code::SchemaReference, place, "$id is not supported: leave it out"))
                }
                ("$schema", Value::String(dialect)) if !is_2020_12(dialect) => {
                    let message = "only https://json-schema.org/draft/2020-12/schema is supported";
                    Err(Problem::at(Code::SchemaInvalid, place, message))
                }
                // Data, not schema: a "$ref" in there means nothing.
                ("const" | "enum" | "default" | "examples", _) => Ok(()),
                _ => local(value, &place),
            }
        }),
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| local(item, &format!("{pointer}/{index}")))
        }
        _ => Ok(()),
    }
}

/// A schema with every reference replaced by what it refers to. A few definitions that refer to each other
/// twice double with each link, and a check visits them all.
#[derive(Debug)]
struct Unfolded {
    parts: u64,
    /// Something refers to itself: how often that is followed depends on the value.
    recursive: bool,
}

impl Unfolded {
    fn of(schema: &Value) -> Self {
        let mut unfolded = Self { parts: 0, recursive: false };
        unfolded.parts = unfolded.count(schema, schema, &mut HashMap::new());
        unfolded
    }

    /// The parts of `part`. `known` has the count of each definition, `None` while it is being counted.
    fn count<'a>(
        &mut self,
        part: &'a Value,
        root: &'a Value,
        known: &mut HashMap<&'a str, Option<u64>>,
    ) -> u64 {
        let mut parts: u64 = 1;
        match part {
            Value::Object(map) => {
                for (key, value) in map {
                    let more = match value {
                        Value::String(target) if is_reference(key) => self.follow(target, root, known),
                        _ => self.count(value, root, known),
                    };
                    parts = parts.saturating_add(more);
                }
            }
            Value::Array(items) => {
                for item in items {
                    parts = parts.saturating_add(self.count(item, root, known));
                }
            }
            _ => {}
        }
        parts
    }

    fn follow<'a>(
        &mut self,
        target: &'a str,
        root: &'a Value,
        known: &mut HashMap<&'a str, Option<u64>>,
    ) -> u64 {
        match (known.get(target), root.pointer(target.trim_start_matches('#'))) {
            (Some(Some(counted)), _) => *counted,
            (Some(None), _) => {
                self.recursive = true;
                1
            }
            (None, Some(definition)) => {
                known.insert(target, None);
                let counted = self.count(definition, root, known);
                known.insert(target, Some(counted));
                counted
            }
            // The compiler says that there is no such thing.
            (None, None) => 1,
        }
    }
}

/// How many patterns a schema has.
fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("pattern", Value::String(_)) => 1,
                ("patternProperties", Value::Object(properties)) => properties.len() + patterns(value),
                _ => patterns(value),
            })
            .sum(),
        Value::Array(items) => items.iter().map(patterns).sum(),
        _ => 0,
    }
}

fn is_reference(key: &str) -> bool {
    matches!(key, "$ref" | "$dynamicRef")
}

fn is_2020_12(dialect: &str) -> bool {
    dialect.trim_end_matches('#') == "https://json-schema.org/draft/2020-12/schema"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(schema: Value) -> Result<Schema, Code> {
        Schema::compile(&schema, "/input_schema").map_err(|problem| problem.code)
    }

    fn check(schema: &Schema, value: &Value) -> Vec<Fault> {
        schema.faults(value, value.to_string().len())
    }

    #[test]
    fn the_longest_chains_of_references_leave_half_of_the_stack_of_a_check() {
        let mut value = json!(1);
        for _ in 0..MAX_DEPTH {
            value = json!([value]);
        }
        let text = value.to_string();
        for link in [
            |next: Value| json!({"$ref": next}),
            |next: Value| json!({"allOf": [{"$ref": next}]}),
            |next: Value| json!({"anyOf": [false, {"$ref": next}]}),
            |next: Value| json!({"if": true, "then": {"$ref": next}}),
            |next: Value| json!({"not": {"not": {"$ref": next}}}),
        ] {
            let chain = |length: usize| {
                let mut links: Map<_, _> = (0..length)
                    .map(|n| (format!("l{n}"), link(json!(format!("#/$defs/l{}", n + 1)))))
                    .collect();
                let last = json!({"items": {"$ref": "#/$defs/l0"}, "unevaluatedItems": false});
                links.insert(format!("l{length}"), last);
                json!({"$defs": links, "$ref": "#/$defs/l0"})
            };
            let longest = (0..250).rev().find_map(|length| compile(chain(length)).ok()).unwrap();
            let (value, bytes) = (value.clone(), text.len());
            let check = move || longest.faults(&value, bytes).len();
            let thread = std::thread::Builder::new().stack_size(apart::STACK / 2).spawn(check).unwrap();
            assert!(thread.join().unwrap() <= 1);
        }
    }

    #[test]
    fn of_a_large_value_only_the_first_fault_is_told() {
        let schema = compile(json!({"items": {"anyOf": [{"const": 1}, {"const": 2}]}})).unwrap();
        assert_eq!(check(&schema, &json!([0, 0, 0])).len(), 3);
        assert_eq!(check(&schema, &json!(vec![0; 100_000])).len(), 1);
        assert!(schema.is_quick(100) && !schema.is_quick(1_000_000));
        assert!(!compile(json!({"pattern": "a"})).unwrap().is_quick(10));
        assert!(!compile(json!({"properties": {"a": {"$ref": "#"}}})).unwrap().is_quick(10));
    }

    #[test]
    fn many_patterns_share_the_memory_of_a_few() {
        let pattern = |n: usize| (format!("{n}"), json!({"pattern": format!(r"\w{{900}}{n}")}));
        let schema = |count: usize| json!({"properties": (0..count).map(pattern).collect::<Map<_, _>>()});
        assert!(compile(schema(3)).is_ok());
        assert_eq!(compile(schema(1_000)).err(), Some(Code::SchemaInvalid));
    }

    #[test]
    fn values_are_checked_with_pointers() {
        let schema = compile(
            json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}),
        );
        let schema = schema.unwrap();
        assert!(check(&schema, &json!({"city": "Oslo"})).is_empty());
        let faults = check(&schema, &json!({"city": 7}));
        assert_eq!(faults[0].pointer, "/city");
        assert_eq!(check(&schema, &json!({})).len(), 1);
    }

    #[test]
    fn the_short_form_becomes_a_schema() {
        let short =
            json!({"parameters": {"city": {"type": "string", "description": "d"}}, "required": ["city"]});
        let schema = compile(expand_short_form(short)).unwrap();
        assert!(!check(&schema, &json!({})).is_empty());
        assert!(check(&schema, &json!({"city": "Oslo", "more": 1})).is_empty());
        let long = json!({"type": "object", "properties": {"parameters": {}}});
        assert_eq!(expand_short_form(long.clone()), long);
    }

    #[test]
    fn nothing_is_read_from_files_or_addresses() {
        for target in [
            "file:///etc/passwd",
            "http://127.0.0.1/x",
            "other.json",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            assert_eq!(
                compile(json!({"properties": {"a": {"$ref": target}}})).err(),
                Some(Code::SchemaReference)
            );
        }
        assert_eq!(compile(json!({"$id": "http://x/"})).err(), Some(Code::SchemaReference));
        assert!(
            compile(json!({"$defs": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/a"}}}))
                .is_ok()
        );
        assert!(compile(json!({"enum": [{"$ref": "file:///x"}]})).is_ok());
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_place() {
        let problem = Schema::compile(&json!({"type": "strin"}), "/input_schema").err().unwrap();
        assert_eq!(problem.code, Code::SchemaInvalid);
        assert!(problem.faults[0].pointer.starts_with("/input_schema"));
        assert_eq!(compile(json!({"$ref": "#/nowhere"})).err(), Some(Code::SchemaInvalid));
        assert_eq!(compile(json!({"pattern": "("})).err(), Some(Code::SchemaInvalid));
        assert_eq!(compile(json!({"pattern": "a{1000}{1000}{1000}"})).err(), Some(Code::SchemaInvalid));
        assert_eq!(compile(json!({"title": "x".repeat(MAX_BYTES)})).err(), Some(Code::SchemaTooComplex));
    }

    #[test]
    fn an_evil_pattern_takes_linear_time() {
        let schema = compile(json!({"pattern": "^(a+)+$"})).unwrap();
        assert_eq!(check(&schema, &json!(format!("{}b", "a".repeat(50_000)))).len(), 1);
    }

    #[test]
    fn references_that_double_with_every_link_are_refused() {
        let link =
            |n: usize| json!({"allOf": [{"$ref": format!("#/$defs/{n}")}, {"$ref": format!("#/$defs/{n}")}]});
        let chain = |length: usize| {
            let mut defs = Map::new();
            for n in 0..length {
                defs.insert(n.to_string(), link(n + 1));
            }
            defs.insert(length.to_string(), json!({"type": "string"}));
            json!({"$defs": defs, "$ref": "#/$defs/0"})
        };
        assert!(compile(chain(5)).is_ok());
        assert_eq!(compile(chain(22)).err(), Some(Code::SchemaTooComplex));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = compile(json!({"$ref": "#"})).unwrap();
        assert!(check(&schema, &json!(1)).len() <= 1);
    }
}
