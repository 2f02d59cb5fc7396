//! The repository's own chores, in Rust so that there is no second language: `cargo xtask <chore>`.
//!
//! `tidy` holds the sources, manifests and documents to the rules of `STYLE.md`. It depends on nothing but the standard
//! library, so it builds in seconds, and it runs as a test too.

mod tidy;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

const HELP: &str = "Usage: cargo xtask <chore>

Chores:
  tidy    check the repository's own rules; prints what breaks them
  rules   print the rules that tidy checks
  help    print this text
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["tidy"] => tidy(),
        ["rules"] => rules(),
        ["help" | "--help" | "-h"] => say(HELP).map(|()| ExitCode::SUCCESS),
        _ => complain(HELP).map(|()| ExitCode::from(2)),
    };
    // Nobody can be told when the output is gone.
    outcome.unwrap_or(ExitCode::FAILURE)
}

fn tidy() -> io::Result<ExitCode> {
    let tree = match tidy::Tree::read(root()) {
        Ok(tree) => tree,
        Err(error) => return complain(&format!("cannot read the repository: {error}\n")).map(|()| ExitCode::FAILURE),
    };
    let findings = tree.findings();
    for finding in &findings {
        say(&format!("{finding}\n"))?;
    }
    match findings.len() {
        0 => say("tidy: nothing found\n").map(|()| ExitCode::SUCCESS),
        count => complain(&format!("tidy: {count} found\n")).map(|()| ExitCode::FAILURE),
    }
}

fn rules() -> io::Result<ExitCode> {
    for rule in tidy::RULES {
        say(&format!("{}\n", rule.says))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The repository: the folder above this crate.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn say(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

fn complain(text: &str) -> io::Result<()> {
    io::stderr().write_all(text.as_bytes())
}
