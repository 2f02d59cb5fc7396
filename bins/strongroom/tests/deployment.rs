//! The deployment files name what exists.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value;
use testkit::{server::Server, wire::Wire};

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(folder().join(path)).expect(path)
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !word(character));
    words.filter(|word| word.starts_with("strongroom_") || word.starts_with("vault_")).map(str::to_owned).collect()
}

#[test]
fn each_metric_that_the_dashboard_and_the_alerts_name_is_there_from_the_start() {
    let server = Server::start(PROGRAM);
    let scraped = Wire::new(&server, server.root_token()).get("sys/metrics?format=prometheus").text();
    let there = metrics(&scraped);
    assert!(there.len() > 20, "{there:?}");
    for file in ["prometheus/alerts.yaml", "grafana/strongroom.json"] {
        let named = metrics(&read(file));
        assert!(named.len() > 5, "{file} names few metrics");
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{file} names what does not exist: {missing:?}");
    }
}

#[test]
fn the_dashboard_and_the_rules_can_be_read() {
    let dashboard: Value = serde_json::from_str(&read("grafana/strongroom.json")).unwrap();
    let ids: BTreeSet<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len(), "each panel has its own id");
    let rules: Value = serde_yaml_ng::from_str(&read("prometheus/alerts.yaml")).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        assert!(
            rule["alert"].is_string() && rule["expr"].is_string() && rule["annotations"]["summary"].is_string(),
            "{rule}"
        );
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{rule}");
    }
}

#[test]
fn the_configuration_beside_the_unit_is_one_and_the_unit_gives_no_rights() {
    let unit = read("systemd/strongroom.service");
    for line in [
        "User=strongroom",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=\n",
        "NoNewPrivileges=yes",
        "LimitCORE=0",
        "LoadCredentialEncrypted=seal-key:",
        "MemoryDenyWriteExecute=yes",
    ] {
        assert!(unit.contains(line), "{line}");
    }
    // The server reads it as far as a key, which only systemd hands over.
    let home = tempfile::tempdir().unwrap();
    let started = std::process::Command::new(PROGRAM)
        .args(["server", &format!("-config={}", folder().join("systemd/config.hcl").display())])
        .env_clear()
        .current_dir(home.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(text.contains("CREDENTIALS_DIRECTORY") && text.contains("current_key"), "{text}");
}

/// A chart is made of templates that no parser of YAML reads, so this looks at what can be looked at without Helm.
#[test]
fn the_chart_is_whole_in_itself() {
    let chart: Value = serde_yaml_ng::from_str(&read("helm/strongroom/Chart.yaml")).unwrap();
    assert_eq!((chart["apiVersion"].as_str(), chart["name"].as_str()), (Some("v2"), Some("strongroom")));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values: Value = serde_yaml_ng::from_str(&read("helm/strongroom/values.yaml")).unwrap();
    let mut templates = BTreeMap::new();
    for entry in std::fs::read_dir(folder().join("helm/strongroom/templates")).unwrap() {
        let path = entry.unwrap().path();
        templates
            .insert(path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap());
    }
    let all: String = templates.values().cloned().collect();
    let quoted = |after: &str| -> BTreeSet<String> {
        all.split(after).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let defined = quoted("define \"");
    let included = quoted("include \"");
    assert!(included.is_subset(&defined), "{:?}", included.difference(&defined));
    let word = |character: char| character.is_ascii_alphanumeric() || character == '.';
    for used in all.split(".Values.").skip(1) {
        let path = used.split(|character| !word(character)).next().unwrap();
        let found = path.split('.').try_fold(&values, |at, name| at.get(name));
        assert!(found.is_some(), "values.yaml has no {path}");
    }
    for (name, text) in &templates {
        assert_eq!(text.matches("{{").count(), text.matches("}}").count(), "{name}");
        let actions = || text.split("{{").skip(1).map(|rest| rest.trim_start_matches('-').trim_start());
        let opened = actions()
            .filter(|action| ["if ", "range ", "with ", "define "].iter().any(|word| action.starts_with(word)));
        let ended = actions().filter(|action| action.starts_with("end"));
        assert_eq!(opened.count(), ended.count(), "{name}: what is opened is ended");
        // What is left without the actions is YAML.
        let plain: String =
            text.lines().filter(|line| !line.trim_start().starts_with("{{")).map(|line| format!("{line}\n")).collect();
        let mut plain = plain;
        while let Some((start, end)) =
            plain.find("{{").and_then(|start| Some((start, start + plain[start..].find("}}")? + 2)))
        {
            plain.replace_range(start..end, "x");
        }
        if name.ends_with(".yaml") {
            for part in plain.split("\n---\n") {
                serde_yaml_ng::from_str::<Value>(part).unwrap_or_else(|error| panic!("{name}: {error}\n{part}"));
            }
        }
    }
}
