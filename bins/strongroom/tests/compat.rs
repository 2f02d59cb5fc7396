//! Clients that others wrote, as their registries give them, each making every call it has for what the server serves.
//!
//! The programs are in `tests/compat/`. What passed is kept there in a `calls.md` for each client, which the book shows;
//! a call that passed once must go on passing. `BLESS=1 make compat` writes the files anew. `make test` runs hvac alone:
//! the others need toolchains that not everybody has, and run when `STRONGROOM_COMPAT=all` is set, as `make compat` does.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, reason = "what a client did is told to whoever runs the tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use testkit::{identity::Issuer, postgres::Postgres, server::Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");
const ISSUER: &str = "https://platform.example";

#[test]
fn hvac_makes_its_calls() {
    let target = target().join("compat-hvac");
    let python = target.join("bin/python");
    let requirements = folder("hvac").join("requirements.txt");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&target));
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(pip).arg(requirements));
    let mut command = Command::new(python);
    command.arg(folder("hvac").join("calls.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    judge("hvac", command);
}

#[test]
fn the_go_module_makes_its_calls() {
    if !is_wanted("go") {
        return;
    }
    let program = target().join("compat-go");
    run(Command::new("go").current_dir(folder("go")).args(["build", "-o"]).arg(&program).arg("."));
    judge("go", Command::new(program));
}

#[test]
fn node_vault_makes_its_calls() {
    if !is_wanted("node") {
        return;
    }
    let installed = target().join("compat-node");
    std::fs::create_dir_all(&installed).unwrap();
    for file in ["package.json", "package-lock.json", "calls.js"] {
        std::fs::copy(folder("node").join(file), installed.join(file)).unwrap();
    }
    run(Command::new("npm").current_dir(&installed).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]));
    let mut command = Command::new("node");
    command.arg(installed.join("calls.js"));
    judge("node", command);
}

#[test]
fn vaultrs_makes_its_calls() {
    if !is_wanted("vaultrs") {
        return;
    }
    let built = target().join("compat-vaultrs");
    let manifest = folder("vaultrs").join("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    run(cargo.args(["build", "--locked", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(&built));
    judge("vaultrs", Command::new(built.join("debug/compat-vaultrs")));
}

#[test]
fn spring_vault_makes_its_calls() {
    if !is_wanted("spring-vault") {
        return;
    }
    let built = target().join("compat-spring-vault");
    let paths = built.join("classpath");
    let mut maven = Command::new("mvn");
    maven.current_dir(folder("spring-vault")).args([
        "--quiet",
        "--batch-mode",
        "compile",
        "dependency:build-classpath",
    ]);
    maven.arg(format!("-Dcompat.target={}", built.display()));
    run(maven.arg(format!("-Dmdep.outputFile={}", paths.display())));
    let paths = std::fs::read_to_string(paths).unwrap();
    let mut command = Command::new("java");
    command.arg("-cp").arg(format!("{}:{}", built.join("classes").display(), paths.trim())).arg("compat.Calls");
    judge("spring-vault", command);
}

/// Whether this client is to be run; says so if not.
fn is_wanted(client: &str) -> bool {
    let wanted = std::env::var("STRONGROOM_COMPAT").is_ok_and(|wanted| wanted == "all" || wanted == client);
    if !wanted {
        println!("not run without STRONGROOM_COMPAT=all, which `make compat` sets");
    }
    wanted
}

fn target() -> PathBuf {
    let mut above = Path::new(PROGRAM).ancestors();
    above.find(|path| path.ends_with("target")).expect("a target folder").to_owned()
}

fn folder(client: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/compat").join(client)
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} is needed: {error}"));
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    output
}

/// Runs a client's program against a server of its own, and compares what passes with what passed before.
fn judge(client: &str, mut command: Command) {
    let server = Server::sealed(PROGRAM);
    let postgres = Postgres::start();
    postgres.admin("strongroom", "handed-over");
    postgres.psql("CREATE ROLE report LOGIN PASSWORD 'x'");
    let platform = Issuer::new(ISSUER);
    command
        .env("COMPAT_ADDR", server.address())
        .env("COMPAT_CA", server.ca_file())
        .env("COMPAT_FOLDER", server.folder())
        .env("COMPAT_PG_TEMPLATE", postgres.url("{{username}}", "{{password}}", "postgres"))
        .env("COMPAT_PG_PASSWORD", "handed-over")
        .env("COMPAT_PUBLIC_KEY", platform.public_pem())
        .env("COMPAT_ISSUER", ISSUER)
        .env("COMPAT_JWT", platform.token("system:prod:shop", "strongroom"));
    let told = shown(&run(&mut command));
    let seen = Calls::told(&told);
    assert!(!seen.0.is_empty(), "{told}");
    let file = folder(client).join("calls.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, seen.table()).unwrap();
        println!("{told}");
        return;
    }
    let before = Calls::read(&std::fs::read_to_string(&file).unwrap_or_default());
    let lost: Vec<_> = before.passing().difference(&seen.passing()).cloned().collect();
    assert!(lost.is_empty(), "no longer pass: {lost:?}\n{told}");
    let won: Vec<_> = seen.passing().difference(&before.passing()).cloned().collect();
    if !won.is_empty() {
        println!("{} does not know yet that these pass; BLESS=1 writes it anew: {won:?}", file.display());
    }
}

/// The calls of a client by area: those that pass, and those that do not.
#[derive(Default)]
struct Calls(BTreeMap<String, (Vec<String>, Vec<String>)>);

impl Calls {
    /// From what the program printed: `PASS area | name`, or `FAIL area | name | why`.
    fn told(text: &str) -> Self {
        let mut calls = Self::default();
        for line in text.lines() {
            let (passes, rest) = match (line.strip_prefix("PASS "), line.strip_prefix("FAIL ")) {
                (Some(rest), _) => (true, rest),
                (None, Some(rest)) => (false, rest),
                (None, None) => continue,
            };
            let (area, rest) = rest.split_once(" | ").expect("an area");
            let name = rest.split(" | ").next().unwrap_or(rest);
            let (passing, failing) = calls.0.entry(area.to_owned()).or_default();
            let list = if passes { passing } else { failing };
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
        }
        calls
    }

    /// From the table that [`Calls::table`] wrote.
    fn read(table: &str) -> Self {
        let mut calls = Self::default();
        for line in table.lines().skip(2) {
            let [_, area, passing, failing, _] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
                continue;
            };
            let names = |cell: &str| cell.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            calls.0.insert(area.to_owned(), (names(passing), names(failing)));
        }
        calls
    }

    fn table(&self) -> String {
        let mut table = "| Area | Passes | Does not yet |\n| --- | --- | --- |\n".to_owned();
        for (area, (passing, failing)) in &self.0 {
            writeln!(table, "| {area} | {} | {} |", passing.join(", "), failing.join(", ")).unwrap();
        }
        table
    }

    fn passing(&self) -> BTreeSet<(String, String)> {
        let of = |(area, (passing, _)): (&String, &(Vec<String>, Vec<String>))| {
            passing.iter().map(|name| (area.clone(), name.clone())).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let told = "PASS sys: seal | init\nFAIL sys: seal | stepDown | 404\nNOTE x\nPASS any path | read of nothing\n";
    let calls = Calls::told(told);
    let table = calls.table();
    assert!(table.contains("| sys: seal | init | stepDown |"), "{table}");
    assert_eq!(Calls::read(&table).table(), table);
    let expected = [("any path", "read of nothing"), ("sys: seal", "init")];
    assert_eq!(calls.passing(), expected.map(|(area, name)| (area.to_owned(), name.to_owned())).into());
}
