use crate::{
    failure::{DONE, Failure, Outcome, SERVER},
    output::{answer::Answer, json::Json, table},
    session::Session,
};

/// Show whether the server is sealed
///
/// Exit code 0 means unsealed, 2 sealed, 1 that the server could not be asked.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLES:
    Look at the server:
        strongroom status

    Wait in a script until it is unsealed:
        until strongroom status > /dev/null; do sleep 1; done")]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let answer = match session.read("checking seal status", "sys/seal-status", &[]).await {
            Ok(answer) => answer,
            Err(failure @ Failure::Api { .. }) => {
                let hints = session.program == crate::cli::Program::Strongroom;
                session.terminal.error(&failure.text(hints).unwrap_or_default());
                return Err(Failure::Said(1));
            }
            Err(failure) => return Err(failure),
        };
        let answer = answer.ok_or_else(|| Failure::local("Error checking seal status: the reply is empty"))?;
        let sealed = answer.data.as_ref().is_some_and(|status| status.is_true("sealed"));
        show(session, &answer).await?;
        Ok(if sealed { SERVER } else { DONE })
    }
}

/// Prints a seal status, with what is known of the leader.
pub(super) async fn show(session: &Session, answer: &Answer) -> Outcome {
    let Some(Json::Map(mut status)) = answer.data.clone() else {
        return Err(Failure::local("Error checking seal status: the reply has another shape than expected"));
    };
    let leader = match session.look_up("sys/leader").await? {
        Ok(response) => Answer::read(&response).map_err(Failure::Local)?.and_then(|answer| answer.data),
        // A sealed server may not know.
        Err(_) => None,
    };
    let ha = leader.as_ref().is_some_and(|leader| leader.is_true("ha_enabled"));
    status.push(("ha_enabled".to_owned(), Json::Bool(ha)));
    if let Some(leader) = leader.as_ref().filter(|_| ha) {
        for name in ["is_self", "active_time", "leader_address", "leader_cluster_address"] {
            if let Some(value) = leader.get(name) {
                status.push((name.to_owned(), value.clone()));
            }
        }
    }
    let status = Json::Map(status);
    if session.terminal.field.is_some() || !session.terminal.is_table() {
        return session.terminal.object(&status);
    }
    session.terminal.print(&table::table(&["Key", "Value"], &rows(&status)))?;
    Ok(DONE)
}

fn rows(status: &Json) -> Vec<Vec<String>> {
    let flag = |name: &str| status.is_true(name).to_string();
    let number = |name: &str| status.integer_at(name).to_string();
    let text = |name: &str| status.text_at(name).to_owned();
    let recovery = if status.is_true("recovery_seal") { "Recovery " } else { "" };
    let mut rows: Vec<(String, String)> = vec![
        ("Seal Type".to_owned(), text("type")),
        ("Initialized".to_owned(), flag("initialized")),
        ("Sealed".to_owned(), flag("sealed")),
        (format!("Total {recovery}Shares"), number("n")),
        ("Threshold".to_owned(), number("t")),
    ];
    if status.is_true("sealed") {
        rows.push(("Unseal Progress".to_owned(), format!("{}/{}", number("progress"), number("t"))));
        rows.push(("Unseal Nonce".to_owned(), text("nonce")));
    }
    if status.is_true("migration") {
        rows.push(("Seal Migration in Progress".to_owned(), flag("migration")));
    }
    rows.push(("Version".to_owned(), text("version")));
    rows.push(("Build Date".to_owned(), text("build_date")));
    rows.push(("Storage Type".to_owned(), text("storage_type")));
    if !text("cluster_name").is_empty() && !text("cluster_id").is_empty() {
        rows.push(("Cluster Name".to_owned(), text("cluster_name")));
        rows.push(("Cluster ID".to_owned(), text("cluster_id")));
    }
    rows.push(("HA Enabled".to_owned(), flag("ha_enabled")));
    if status.is_true("ha_enabled") {
        rows.push(("HA Cluster".to_owned(), text("leader_cluster_address")));
        let mode = if status.is_true("is_self") { "active" } else { "standby" };
        rows.push(("HA Mode".to_owned(), mode.to_owned()));
        if status.is_true("is_self") {
            rows.push(("Active Since".to_owned(), text("active_time")));
        } else {
            rows.push(("Active Node Address".to_owned(), text("leader_address")));
        }
    }
    rows.into_iter().map(|(key, value)| vec![key, value]).collect()
}
