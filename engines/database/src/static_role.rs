//! `static-roles/{name}`: accounts that exist in the database and whose passwords the server changes.

use api::{Flag, Name, Pairs, Ttl};
use clock::Timestamp;
use engine::{Data, Done, Error, Keys};
use secret::SecretString;
use serde::{Deserialize, Serialize};
use storage::View;

use crate::{
    Call, Databases, Paging, Targets, config,
    connections::{self, missing},
    kept::{Account, Kept},
    names,
    plan::{STATIC, Standing, Timing, Wished},
    role::{self, CredentialConfig, PASSWORD},
    statements::Statements,
    static_creds,
    target::Purpose,
};

/// A static role as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StaticRole {
    pub(crate) db_name: String,
    pub(crate) username: String,
    /// A second account of the same rights: the two take turns, so that the one before stays valid for a period.
    #[serde(default)]
    pub(crate) paired_username: String,
    pub(crate) rotation_statements: Statements,
    pub(crate) credential_type: String,
    pub(crate) credential_config: CredentialConfig,
    pub(crate) skip_import_rotation: bool,
    #[serde(default)]
    pub(crate) rotate_on_read: bool,
    #[serde(default)]
    pub(crate) timing: Timing,
    #[serde(default)]
    pub(crate) current: Option<Account>,
    #[serde(default)]
    pub(crate) pending: Option<Account>,
    #[serde(default)]
    pub(crate) previous: Option<Account>,
    #[serde(default)]
    pub(crate) last_rotation: Option<Timestamp>,
}

impl StaticRole {
    /// The account whose password changes next.
    pub(crate) fn next_account(&self) -> &str {
        match &self.current {
            Some(current) if !self.paired_username.is_empty() && current.username == self.username => {
                &self.paired_username
            }
            _ => &self.username,
        }
    }

    fn has(&self, account: &str) -> bool {
        !account.is_empty() && (account == self.username || account == self.paired_username)
    }

    /// Makes the pending login the current one, and keeps the one before.
    pub(crate) fn promote(&mut self, now: Timestamp) {
        if let Some(mut pending) = self.pending.take() {
            pending.since = now;
            self.previous = self.current.replace(pending);
            self.last_rotation = Some(now);
        }
    }
}

/// The fields of a request. What is absent stays as it is.
#[derive(Deserialize)]
pub(crate) struct Write {
    db_name: Option<String>,
    username: Option<String>,
    paired_username: Option<String>,
    password: Option<SecretString>,
    rotation_period: Option<Ttl>,
    rotation_schedule: Option<String>,
    rotation_window: Option<Ttl>,
    disable_automated_rotation: Option<Flag>,
    rotation_statements: Option<Statements>,
    credential_type: Option<String>,
    credential_config: Option<Pairs>,
    skip_import_rotation: Option<Flag>,
    rotate_on_read: Option<Flag>,
}

pub(crate) async fn list<T: Targets>(cx: Call<T>, _: (), paging: Paging) -> Result<Keys, Error> {
    names(&cx, FOLDER, paging).await
}

pub(crate) async fn exists<T: Targets>(cx: Call<T>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view(), name.as_str()).await?.is_some())
}

pub(crate) async fn write<T: Targets>(cx: Call<T>, name: Name, mut write: Write) -> Result<Done, Error> {
    let name = name.as_str();
    if role::load(cx.view(), name).await?.is_some() {
        return Err(Error::invalid(format!("Role and Static Role names must be unique: \"{name}\" is a role")));
    }
    let before = load(cx.view(), name).await?;
    let password = write.password.take();
    let mut role = merge(before.clone(), write)?;
    let connection = config::load(cx.view(), &role.db_name).await?;
    let connection = connection.ok_or_else(|| Error::invalid(format!("db_name: {}", missing(&role.db_name))))?;
    if !connection.allows(name) {
        return Err(Error::Target(format!("\"{name}\" is not an allowed role")));
    }
    let kind = Databases::<T>::kind(&connection.plugin_name)?;
    for (field, name) in [("username", &role.username), ("paired_username", &role.paired_username)] {
        check_name(field, name, kind.max_username)?;
    }
    (kind.check)(&role.rotation_statements, Purpose::Rotate).map_err(|error| Error::invalid(error.to_string()))?;
    if !role.credential_config.password_policy.is_empty() {
        cx.password(&role.credential_config.password_policy)
            .await
            .map_err(|error| error.of_part("credential_config.password_policy"))?;
    }
    if [&connection.username].into_iter().any(|admin| *admin == role.username || *admin == role.paired_username) {
        return Err(Error::invalid("username: is the login of the connection itself; rotate that with rotate-root"));
    }
    let plan = role.timing.plan()?;
    if plan.is_none() && !role.rotate_on_read && !role.timing.disable_automated_rotation {
        return Err(Error::invalid("one of rotation_period and rotation_schedule must be set"));
    }
    look_up_pair(&cx, before.as_ref(), &role).await?;
    if before.as_ref().is_none_or(|before| before.paired_username != role.paired_username) {
        warn_of_rivals(&cx, name, &role).await?;
    }
    if let Some(password) = password.filter(|password| !password.is_empty())
        && takes_over(&cx, &role, &password).await?
    {
        role.current = Some(Account { username: role.username.clone(), password: Kept(password), since: cx.now() });
    }
    let (id, first) = (format!("{STATIC}/{name}"), before.is_none());
    store(cx.view(), name, &role)?;
    if before.is_none_or(|before| before.timing != role.timing) || cx.rotation(&id).await?.is_none() {
        cx.plan(&id, plan).await?;
    }
    if (first || role.current.is_none()) && !role.skip_import_rotation {
        static_creds::import(&cx, name, first).await?;
    }
    Ok(Done)
}

fn check_name(field: &str, name: &str, max: usize) -> Result<(), Error> {
    match name.len() > max || name.contains(char::is_control) {
        true => Err(Error::invalid(format!("{field}: must not exceed {max} bytes nor have control characters"))),
        false => Ok(()),
    }
}

/// The second account of a pair must be there when it is named: its turn comes only after a period. A database that
/// does not answer is no reason to refuse.
async fn look_up_pair<T: Targets>(cx: &Call<T>, before: Option<&StaticRole>, role: &StaticRole) -> Result<(), Error> {
    let paired = &role.paired_username;
    if paired.is_empty() || before.is_some_and(|before| before.paired_username == *paired) {
        return Ok(());
    }
    let target = connections::open(cx, &role.db_name).await?.1;
    match target.list_users(paired).await {
        Ok(found) if !found.contains(paired) => {
            Err(Error::invalid("paired_username: the database has no such account; create it first"))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            cx.warn(format!("paired_username: could not be looked up: {error}"));
            Ok(())
        }
    }
}

/// Two roles that change the password of one account take it away from each other's readers.
async fn warn_of_rivals<T: Targets>(cx: &Call<T>, name: &str, role: &StaticRole) -> Result<(), Error> {
    for other in cx.view().list(FOLDER, None, usize::MAX - 1).await?.names.iter().filter(|other| *other != name) {
        let Some(rival) = load(cx.view(), other).await?.filter(|rival| rival.db_name == role.db_name) else { continue };
        let accounts = [&rival.username, &rival.paired_username];
        if accounts.iter().any(|account| role.has(account)) {
            cx.warn(format!(
                "username, paired_username: the static role \"{other}\" rotates the same account: whoever reads one of the two roles is \
                 locked out when the other one rotates. Give each account one role"
            ));
        }
    }
    Ok(())
}

/// Whether a password that was told is to be believed. As for connections: a configuration that is applied again with
/// an older one changes nothing, unless it works and ours does not.
async fn takes_over<T: Targets>(cx: &Call<T>, role: &StaticRole, told: &SecretString) -> Result<bool, Error> {
    // EXPOSE: only whether it can be sent at all.
    if told.expose().contains('\0') {
        return Err(Error::invalid("password: must not have NUL characters"));
    }
    let target = connections::open(cx, &role.db_name).await?.1;
    let works = target.login_works(&role.username, told).await;
    let Some(current) = &role.current else {
        return match works {
            Ok(false) => Err(Error::invalid("password: the database does not accept it for the username")),
            Ok(true) => Ok(true),
            Err(error) => {
                cx.warn(format!("password: could not be tried: {error}"));
                Ok(true)
            }
        };
    };
    let repairs = works == Ok(true)
        && current.username == role.username
        && target.login_works(&current.username, &current.password.0).await == Ok(false);
    if !repairs {
        cx.warn("password: not taken over, because the server has one that is in force");
    }
    Ok(repairs)
}

fn merge(before: Option<StaticRole>, write: Write) -> Result<StaticRole, Error> {
    fn fixed(field: &str, before: &str, wished: Option<String>) -> Result<String, Error> {
        match wished {
            Some(wished) if wished != before => Err(Error::invalid(format!("cannot update static account {field}"))),
            _ => Ok(before.to_owned()),
        }
    }
    let needed = |field: &str, value: Option<String>| match value.filter(|text| !text.is_empty()) {
        Some(value) => Ok(value),
        None => Err(Error::invalid(format!("{field} is a required field to create a static account"))),
    };
    let mut role = match before {
        Some(mut role) => {
            role.username = fixed("username", &role.username, write.username)?;
            role.db_name = fixed("db_name", &role.db_name, write.db_name)?;
            role
        }
        None => StaticRole {
            db_name: needed("db_name", write.db_name)?,
            username: needed("username", write.username)?,
            paired_username: String::new(),
            rotation_statements: Statements::default(),
            credential_type: PASSWORD.to_owned(),
            credential_config: CredentialConfig::default(),
            skip_import_rotation: false,
            rotate_on_read: false,
            timing: Timing::default(),
            current: None,
            pending: None,
            previous: None,
            last_rotation: None,
        },
    };
    if let Some(paired) = write.paired_username {
        if paired == role.username {
            return Err(Error::invalid("paired_username: must be another account than username"));
        }
        role.paired_username = paired;
    }
    if let Some(statements) = write.rotation_statements {
        role.rotation_statements = statements;
    }
    if let Some(kind) = write.credential_type {
        role::check_type(&kind)?;
    }
    if let Some(fields) = write.credential_config {
        role.credential_config = CredentialConfig::read(fields.0)?;
    }
    if let Some(Flag(skip)) = write.skip_import_rotation {
        role.skip_import_rotation = skip;
    }
    if let Some(Flag(on_read)) = write.rotate_on_read {
        role.rotate_on_read = on_read;
    }
    role.timing.merge(Wished {
        period: write.rotation_period,
        schedule: write.rotation_schedule,
        window: write.rotation_window,
        disabled: write.disable_automated_rotation,
    });
    Ok(role)
}

/// A static role as it is shown: without passwords.
#[derive(Serialize)]
pub(crate) struct Shown {
    db_name: String,
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    paired_username: String,
    /// Which of the accounts is handed out now.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_username: Option<String>,
    rotation_statements: Statements,
    credential_type: String,
    credential_config: CredentialConfig,
    skip_import_rotation: bool,
    rotate_on_read: bool,
    #[serde(flatten)]
    timing: TimingShown,
    last_vault_rotation: Option<Timestamp>,
    #[serde(flatten)]
    standing: Standing,
}

/// Only what is set: clients take a field that is there for the mode in force.
#[derive(Serialize)]
pub(crate) struct TimingShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_period: Option<Ttl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_window: Option<Ttl>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_automated_rotation: bool,
}

impl From<Timing> for TimingShown {
    fn from(timing: Timing) -> Self {
        let scheduled = !timing.rotation_schedule.is_empty();
        Self {
            rotation_period: (!timing.rotation_period.is_zero()).then_some(timing.rotation_period),
            rotation_window: scheduled.then_some(timing.rotation_window),
            rotation_schedule: scheduled.then_some(timing.rotation_schedule),
            disable_automated_rotation: timing.disable_automated_rotation,
        }
    }
}

pub(crate) async fn read<T: Targets>(cx: Call<T>, name: Name) -> Result<Option<Data<Shown>>, Error> {
    let Some(role) = load(cx.view(), name.as_str()).await? else { return Ok(None) };
    let status = cx.rotation(&format!("{STATIC}/{name}")).await?;
    Ok(Some(Data(Shown {
        active_username: role.current.map(|account| account.username),
        db_name: role.db_name,
        username: role.username,
        paired_username: role.paired_username,
        rotation_statements: role.rotation_statements,
        credential_type: role.credential_type,
        credential_config: role.credential_config,
        skip_import_rotation: role.skip_import_rotation,
        rotate_on_read: role.rotate_on_read,
        timing: role.timing.into(),
        last_vault_rotation: role.last_rotation,
        standing: status.into(),
    })))
}

/// Deletes a static role. The account stays in the database with its last password.
pub(crate) async fn delete<T: Targets>(cx: Call<T>, name: Name) -> Result<Done, Error> {
    let name = name.as_str();
    if load(cx.view(), name).await?.is_some() {
        cx.view().delete(&key(name));
        cx.plan(&format!("{STATIC}/{name}"), None).await?;
    }
    Ok(Done)
}

pub(crate) async fn load(view: &View, name: &str) -> Result<Option<StaticRole>, Error> {
    Ok(view.get_json(&key(name)).await?)
}

pub(crate) fn store(view: &View, name: &str, role: &StaticRole) -> Result<(), Error> {
    Ok(view.put_json(&key(name), role)?)
}

pub(crate) fn key(name: &str) -> String {
    format!("{FOLDER}{name}")
}

pub(crate) const FOLDER: &str = "static-roles/";
