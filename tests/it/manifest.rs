//! The manifest and the command line as users meet them. Every text that they may read lies here in a file, so that a
//! change of wording is a change that somebody reviews. `BLESS=1` writes the files anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use host::cli::Cli;
use host::config::{Diagnostics, Manifest, reference, schema::schema};
use serde_json::Value as Json;

/// The text that must never be printed.
const SECRET: &str = "hunter2";

fn environment(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/u"),
        "STAGE" => Some("test"),
        "TENANT" => Some("seismology"),
        "SECRET" => Some(SECRET),
        _ => None,
    }
    .map(str::to_owned)
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Manifests of a directory, sorted: name and text.
fn manifests(directory: &str) -> Vec<(String, String)> {
    let directory = here("it/manifests").join(directory);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable directory").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "no manifest in {}", directory.display());
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    paths.iter().map(|path| (name(path).expect("a file has a name"), text_of(path))).collect()
}

fn parse(name: &str, text: &str) -> Result<Manifest, Diagnostics> {
    Manifest::parse(text, Path::new(name), environment)
}

/// What differs from the golden files; blesses instead if asked to.
#[derive(Default)]
struct Golden {
    differences: Vec<String>,
}

impl Golden {
    fn compare(&mut self, path: &Path, actual: &str) {
        let actual = format!("{}\n", actual.trim_end());
        if std::env::var_os("BLESS").is_some() {
            fs::write(path, actual).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
            return;
        }
        let expected = fs::read_to_string(path).unwrap_or_default();
        if expected != actual {
            self.differences.push(format!("--- {}\n{expected}+++ now\n{actual}", path.display()));
        }
    }

    fn finish(self) {
        assert!(self.differences.is_empty(), "{}\nBLESS=1 accepts what is now", self.differences.join("\n"));
    }
}

#[test]
fn good_manifests_mean_what_the_golden_files_say() {
    let mut golden = Golden::default();
    for (name, text) in manifests("ok") {
        let manifest = parse(&name, &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        golden.compare(&here("it/manifests/ok").join(&name).with_extension("out"), &format!("{manifest:#?}"));
    }
    golden.finish();
}

#[test]
fn bad_manifests_are_refused_in_the_words_of_the_golden_files() {
    let mut golden = Golden::default();
    for (name, text) in manifests("err") {
        let mistakes = parse(&name, &text).map(|_| ()).expect_err(&name);
        golden.compare(&here("it/manifests/err").join(&name).with_extension("err"), &mistakes.to_string());
    }
    golden.finish();
}

#[test]
fn no_secret_is_ever_printed() {
    for (name, text) in manifests("ok").into_iter().chain(manifests("err")) {
        // A variable that a component is handed is the component's to protect; everything else is ours.
        let (shown, debugged) = match parse(&name, &text) {
            Ok(manifest) => (String::new(), format!("{manifest:?}")),
            Err(mistakes) => (mistakes.to_string(), format!("{mistakes:?}")),
        };
        assert!(!shown.contains(SECRET) && !debugged.contains(SECRET), "{name} unveils a secret:\n{shown}");
    }
}

/// Whatever is cut off or mangled, there is an answer and no secret in it.
#[test]
fn a_mangled_manifest_neither_panics_nor_unveils_a_secret() {
    let mut samples = manifests("ok");
    samples.extend(manifests("err"));
    samples.retain(|(name, text)| text.contains(SECRET) || name == "complete.toml");
    assert!(samples.len() > 5, "the samples hold no secrets");
    for (name, text) in samples {
        let cuts = text.char_indices().map(|(at, _)| at);
        for cut in cuts {
            for mangled in
                [text[..cut].to_owned(), format!("{}{}", &text[..cut], text[cut..].chars().skip(1).collect::<String>())]
            {
                // With the key's own name mangled nothing can tell that it is a secret, other than its table.
                if let Err(mistakes) = parse(&name, &mangled) {
                    let shown = mistakes.to_string();
                    assert!(!shown.contains(SECRET), "{name}, cut at {cut}:\n{shown}");
                }
            }
        }
    }
}

/// Every key of the complete manifest with a value of every type: whatever it is, it is not taken for another key.
#[test]
fn a_value_of_any_type_gets_an_answer_about_that_value() {
    let text = text_of(&here("it/manifests/ok/complete.toml"));
    let values =
        ["1", "-1", "1.5", "nan", "true", "\"x\"", "\"\"", "\"${NOPE}\"", "2018-01-01", "[]", "[1]", "{}", "[{}]"];
    for (index, line) in text.lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with(' ')) else { continue };
        for value in values {
            let replaced: Vec<String> = text
                .lines()
                .enumerate()
                .filter(|(at, line)| key != "streams" || *at <= index || !(line.starts_with("  {") || *line == "]"))
                .map(|(at, line)| if at == index { format!("{key} = {value}") } else { line.to_owned() })
                .collect();
            let Err(mistakes) = parse("probe.toml", &replaced.join("\n")) else { continue };
            let shown = mistakes.to_string();
            assert!(!shown.contains("unknown") && !shown.contains("not TOML"), "{key} = {value}:\n{shown}");
            let about = mistakes.list().iter().filter_map(|mistake| mistake.at).any(|(at, _)| at == index + 1);
            let by_another = ["credentials", "type", "initial_position", "min_delay", "max_delay"].contains(&key);
            assert!(about || by_another, "{key} = {value}: nothing points to line {}:\n{shown}", index + 1);
        }
    }
}

#[test]
fn every_line_and_column_lies_in_the_text() {
    for (name, text) in manifests("err") {
        let mistakes = parse(&name, &text).map(|_| ()).expect_err(&name);
        for mistake in mistakes.list() {
            let (line, column) = mistake.at.expect("the text was read");
            let length = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
            assert!(column <= length + 1, "{name}:{line}:{column} lies behind the end of the line");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_path() {
    let path = here("it/manifests/there_is_none.toml");
    let mistakes = Manifest::read(&path, environment).map(|_| ()).expect_err("no file").to_string();
    assert!(mistakes.contains("there_is_none.toml: cannot read the manifest"), "{mistakes}");
    let latin = here("it/manifests/not_utf8.toml");
    let mistakes = Manifest::read(&latin, environment).map(|_| ()).expect_err("no UTF-8").to_string();
    assert!(mistakes.contains("line 2 is not UTF-8"), "{mistakes}");
    let good = here("it/manifests/ok/shortest.toml");
    assert_eq!(Manifest::read(&good, environment).map(|manifest| manifest.path), Ok(good));
}

/// A table of the schema: its place as keys, and what the schema lists there.
fn tables_of(schema: &Json, place: &[String], tables: &mut Vec<(Vec<String>, BTreeSet<String>)>) {
    let schema = schema.get("items").unwrap_or(schema);
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    assert_eq!(schema["additionalProperties"], false, "{place:?} is open");
    tables.push((place.to_vec(), properties.keys().cloned().collect()));
    for (name, inner) in properties {
        let place: Vec<String> = place.iter().cloned().chain([name.clone()]).collect();
        tables_of(inner, &place, tables);
    }
}

/// The other direction goes through the reader's own answer: asked for nonsense, it lists what it knows at that place.
#[test]
fn the_schema_lists_exactly_the_keys_that_are_accepted() {
    let mut tables = Vec::new();
    tables_of(&schema(), &[], &mut tables);
    assert!(tables.len() > 10, "the schema has lost its tables");
    for (place, listed) in tables {
        let header = match place.join(".").as_str() {
            "" => String::new(),
            place @ ("sink" | "local.streams" | "local.tables") => format!("[[{place}]]\n"),
            place if place.starts_with("sink.") => format!("[[sink]]\n[{place}]\n"),
            place => format!("[{place}]\n"),
        };
        let mistakes = parse("probe.toml", &format!("{header}qqqqqqqqqqqq = 1\n")).map(|_| ()).expect_err("a probe");
        let probe = mistakes.list().iter().find(|mistake| mistake.message.contains("qqqqqqqqqqqq"));
        let help = probe.and_then(|probe| probe.help.as_deref()).expect("the probe is unknown");
        let known = help.strip_prefix("known here: ").expect("the probe is like nothing");
        let known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
        assert_eq!(known, listed, "at {header}");
    }
}

/// Structure only: the keys of a manifest against the properties of the schema.
fn conforms(value: &toml::Value, schema: &Json, place: &str) {
    if let Some(table) = value.as_table() {
        let properties = &schema["properties"];
        let free = schema["additionalProperties"].is_object();
        for (key, value) in table {
            assert!(free || properties.get(key).is_some(), "{place}: the schema has no {key}");
            if let Some(inner) = properties.get(key) {
                conforms(value, inner, &format!("{place}.{key}"));
            }
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            assert!(table.contains_key(key), "{place}: the schema demands {key}");
        }
        return;
    }
    if let (Some(items), true) = (value.as_array(), schema["items"]["properties"].is_object()) {
        for item in items {
            conforms(item, &schema["items"], place);
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("integer") => value.is_integer(),
        Some("boolean") => value.is_bool(),
        Some("string") => value.is_str(),
        Some("array") => value.is_array(),
        Some("object") => false,
        // One of several forms.
        Some(_) | None => schema["anyOf"].is_array(),
    };
    assert!(fits, "{place}: the schema wants another type");
}

#[test]
fn good_manifests_conform_to_the_schema() {
    let schema = schema();
    for (name, text) in manifests("ok") {
        let value: toml::Table = toml::from_str(text.trim_start_matches('\u{feff}')).expect("the reader took it");
        conforms(&toml::Value::Table(value), &schema, &name);
    }
}

#[test]
fn the_reference_and_the_schema_are_those_of_the_program() {
    let mut golden = Golden::default();
    golden.compare(&here("../docs/config.md"), &reference());
    golden.compare(&here("it/manifests/schema.json"), &format!("{:#}", schema()));
    golden.compare(&here("../docs/errors.md"), &host::source::classify::reference());
    golden.finish();
}

#[test]
fn the_manifests_in_the_reference_are_good() {
    let page = reference();
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let &[shortest, sinks] = examples.as_slice() else { panic!("there are {} examples", examples.len()) };
    let (head, _) = shortest.split_once("[[sink]]").expect("the shortest has a sink");
    for text in [shortest, &format!("{head}{sinks}")] {
        if let Err(mistakes) = parse("example.toml", text) {
            panic!("{mistakes}");
        }
    }
}

fn help(golden: &mut Golden, command: &mut clap::Command, name: &str) {
    golden.compare(&here("it/help").join(format!("{name}.txt")), &command.render_long_help().to_string());
    let inner: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    for word in inner {
        let inner = command.find_subcommand_mut(&word).expect("it was listed");
        help(golden, inner, &format!("{name}-{word}"));
    }
}

#[test]
fn the_help_of_each_command_is_that_of_the_golden_files() {
    let mut golden = Golden::default();
    let mut command = Cli::command().term_width(100);
    command.build();
    help(&mut golden, &mut command, "sluicebox");
    golden.finish();
}
