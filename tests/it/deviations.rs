//! docs/backends.md shows the list of deviations. `BLESS=1` rewrites it.

use std::fmt::Write as _;
use std::path::Path;

use tests::deviations::DEVIATIONS;

const BEGIN: &str = "<!-- deviations: BLESS=1 cargo test -p tests --test it deviations -->\n";
const END: &str = "<!-- /deviations -->";

fn table() -> String {
    let mut text = "| Service | Does | Because, and what comes of it | Check |\n|---|---|---|---|\n".to_owned();
    for entry in DEVIATIONS {
        let (service, told) = (entry.backend.shown(), entry.difference.told());
        writeln!(text, "| {service} | {told} | {} | `{}` |", entry.why, entry.difference.check())
            .expect("writing to a string does not fail");
    }
    text
}

#[test]
fn the_document_shows_the_deviations_that_the_tests_allow() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/backends.md");
    let text = std::fs::read_to_string(&path).expect("docs/backends.md");
    let (before, rest) = text.split_once(BEGIN).expect("the list has a beginning");
    let (_, after) = rest.split_once(END).expect("the list has an end");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/backends.md can be written");
    }
    assert!(text == wanted || std::env::var_os("BLESS").is_some(), "docs/backends.md is stale: set BLESS=1");
}

/// One entry per service and difference.
#[test]
fn no_deviation_is_listed_twice() {
    for (index, entry) in DEVIATIONS.iter().enumerate() {
        let same = |other: &&tests::deviations::Deviation| {
            other.backend == entry.backend && other.difference == entry.difference
        };
        assert!(!DEVIATIONS[..index].iter().any(|other| same(&other)), "{entry:?}");
    }
}
