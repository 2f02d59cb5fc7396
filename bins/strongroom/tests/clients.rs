//! The main job through clients that others wrote: hvac from PyPI, and curl.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use serde_json::Value;
use testkit::{identity::Issuer, postgres::Postgres, server::Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

/// The client and its version.
const HVAC: &str = "hvac==2.4.0";

/// The Python of an environment that has hvac, for all tests of this run.
fn python() -> &'static Path {
    static PYTHON: LazyLock<PathBuf> = LazyLock::new(make_python);
    &PYTHON
}

/// The environment is made once below `target/`.
fn make_python() -> PathBuf {
    let target = Path::new(PROGRAM).ancestors().find(|path| path.ends_with("target")).expect("a target folder");
    let folder = target.join("hvac-venv");
    let python = folder.join("bin/python");
    let has_it = |python: &Path| {
        let version = "import importlib.metadata as m; print('hvac==' + m.version('hvac'))";
        let output = Command::new(python).args(["-c", version]).output();
        output.is_ok_and(|output| output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == HVAC)
    };
    if has_it(&python) {
        return python;
    }
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output();
    let made = made.expect("python3 is not installed: apt-get install python3 python3-venv");
    assert!(made.status.success(), "no Python environment (apt-get install python3-venv): {}", shown(&made));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", HVAC];
    let installed = Command::new(&python).args(pip).output().unwrap();
    assert!(
        installed.status.success(),
        "{HVAC} could not be installed from the Python package index: {}",
        shown(&installed)
    );
    assert!(has_it(&python));
    python
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn database() -> Postgres {
    let postgres = Postgres::start();
    postgres.admin("strongroom", "handed-over");
    postgres.psql("CREATE ROLE report LOGIN PASSWORD 'x'; GRANT report TO strongroom WITH ADMIN OPTION");
    postgres
}

#[test]
fn the_story_is_told_with_hvac() {
    let python = python();
    let server = Server::sealed(PROGRAM);
    let postgres = database();
    let platform = Issuer::new("https://platform.example");
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/hvac_story.py"))
        .env("STORY_ADDR", server.address())
        .env("STORY_CA", server.ca_file())
        .env("STORY_FOLDER", server.folder())
        .env("STORY_PG_TEMPLATE", postgres.url("{{username}}", "{{password}}", "postgres"))
        .env("STORY_PG_PASSWORD", "handed-over")
        .env("STORY_PUBLIC_KEY", platform.public_pem())
        .env("STORY_ISSUER", "https://platform.example")
        .env("STORY_JWT", platform.token("system:prod:shop", "strongroom"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(shown(&output).ends_with("told\n"), "{}", shown(&output));
}

#[test]
fn identities_are_kept_with_hvac() {
    let python = python();
    let server = Server::start(PROGRAM);
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/hvac_identity.py"))
        .env("STORY_ADDR", server.address())
        .env("STORY_CA", server.ca_file())
        .env("STORY_TOKEN", server.root_token())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(shown(&output).ends_with("told\n"), "{}", shown(&output));
}

/// One request with curl: the status and the body.
fn curl(server: &Server, arguments: &[&str], path: &str) -> (u16, Value) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--cacert"]).arg(server.ca_file());
    command.args(["--write-out", "\n%{http_code}"]).args(arguments);
    let output = command.arg(format!("{}/v1/{path}", server.address())).output();
    let output = output.expect("curl is not installed: apt-get install curl");
    assert!(output.status.success(), "{path}: {}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn the_story_is_told_with_curl() {
    let server = Server::sealed(PROGRAM);
    let postgres = database();
    let anybody = |arguments: &[&str], path: &str| curl(&server, arguments, path);
    // As people type it: without a content type, the data in the flag.
    let (status, made) = anybody(&["-X", "PUT", "-d", r#"{"secret_shares":1,"secret_threshold":1}"#], "sys/init");
    assert_eq!(status, 200);
    let key = format!("{{\"key\":{}}}", made["keys_base64"][0]);
    assert_eq!(anybody(&["-X", "PUT", "-d", &key], "sys/unseal").1["sealed"], false);
    let token = format!("X-Vault-Token: {}", made["root_token"].as_str().unwrap());
    let root = |arguments: &[&str], path: &str| {
        let mut all = vec!["-H", token.as_str()];
        all.extend(arguments);
        curl(&server, &all, path)
    };
    assert_eq!(root(&["-d", r#"{"type":"kv-v2"}"#], "sys/mounts/kv").0, 204);
    assert_eq!(root(&["-d", r#"{"data":{"api_key":"one"}}"#], "kv/data/shop").1["data"]["version"], 1);
    assert_eq!(root(&[], "kv/data/shop").1["data"]["data"]["api_key"], "one");
    assert_eq!(root(&["-X", "LIST"], "kv/metadata").1["data"]["keys"][0], "shop");
    assert_eq!(
        root(&["-d", "type=approle", "-H", "Content-Type: application/x-www-form-urlencoded"], "sys/auth/approle").0,
        204
    );
    let merge = ["-X", "PATCH", "-H", "Content-Type: application/merge-patch+json", "-d", r#"{"data":{"more":"two"}}"#];
    assert_eq!(root(&merge, "kv/data/shop").0, 200);
    assert_eq!(root(&["--http2"], "kv/data/shop?version=2").1["data"]["data"]["more"], "two");
    assert_eq!(root(&["-I"], "kv/data/none").0, 404);
    assert_eq!(root(&["-d", r#"{"type":"database"}"#], "sys/mounts/database").0, 204);
    let url = postgres.url("{{username}}", "{{password}}", "postgres");
    let config = format!(
        "{{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"{url}\",\"username\":\"strongroom\",\"password\":\"handed-over\",\"allowed_roles\":\"*\"}}"
    );
    assert_eq!(root(&["-d", &config], "database/config/shop").0, 204);
    assert_eq!(root(&["-X", "POST"], "database/rotate-root/shop").0, 204);
    assert!(postgres.try_psql("strongroom", "handed-over", "postgres", "SELECT 1").is_err());
    let role = r#"{"db_name":"shop","creation_statements":"CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'","default_ttl":"1h"}"#;
    assert!(matches!(root(&["-d", role], "database/roles/shop").0, 200 | 204));
    let (_, user) = root(&[], "database/creds/shop");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (name, password) = (text(&user["data"]["username"]), text(&user["data"]["password"]));
    assert_eq!(postgres.try_psql(&name, &password, "postgres", "SELECT current_user").as_deref(), Ok(name.as_str()));
    let lease = format!("{{\"lease_id\":{},\"sync\":true}}", user["lease_id"]);
    assert_eq!(root(&["-X", "PUT", "-d", &lease], "sys/leases/revoke").0, 204);
    assert!(!postgres.has_role(&name));
    let (status, refused) = anybody(&[], "kv/data/shop");
    assert!(status == 403 && text(&refused["errors"][0]).contains("permission denied"), "{status} {refused}");
}
