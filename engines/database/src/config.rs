//! `config/{name}`: connections.

mod shown;

use api::{CommaList, Count, Flag, Name, Ttl};
use clock::Timestamp;
use engine::{Data, Done, Error, Keys};
use secret::SecretString;
use serde::{Deserialize, Serialize};
use storage::View;

use crate::{
    Call, Databases, Here, Paging, Targets,
    connections::{missing, turn_of},
    kept::{Account, Kept},
    names, orphans,
    plan::{ROOT, Timing, Wished},
    statements::Statements,
    target::{ConnectionConfig, Opened, PasswordAuthentication, Purpose},
    turn,
    username::UsernameTemplate,
};

pub(crate) use shown::read;

/// A connection as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) plugin_name: String,
    #[serde(default)]
    plugin_version: String,
    verify_connection: bool,
    allowed_roles: Vec<String>,
    pub(crate) root_rotation_statements: Statements,
    pub(crate) password_policy: String,
    connection_url: String,
    pub(crate) username: String,
    pub(crate) password: Kept,
    max_open_connections: u64,
    max_idle_connections: u64,
    max_connection_lifetime: Ttl,
    username_template: String,
    tls_ca: String,
    tls_certificate: String,
    tls_key: Kept,
    tls_server_name: String,
    disable_escaping: bool,
    password_authentication: PasswordAuthentication,
    terminate_sessions: bool,
    #[serde(default)]
    timing: Timing,
    /// Made when the connection is created, kept through every change: leases name it, so that users made through a
    /// connection are never looked for behind another one of the same name.
    pub(crate) id: String,
    /// Changes whenever what is open must be opened anew.
    pub(crate) version: String,
    /// Whether the server made the password itself.
    #[serde(default)]
    pub(crate) owned: bool,
    /// A password that the database is being told.
    #[serde(default)]
    pub(crate) pending: Option<Account>,
    /// The password before this one.
    #[serde(default)]
    pub(crate) previous: Option<Account>,
    #[serde(default)]
    pub(crate) last_rotation: Option<Timestamp>,
}

impl Connection {
    fn new(plugin_name: &str) -> Self {
        Self {
            plugin_name: plugin_name.to_owned(),
            plugin_version: String::new(),
            verify_connection: true,
            allowed_roles: Vec::new(),
            root_rotation_statements: Statements::default(),
            password_policy: String::new(),
            connection_url: String::new(),
            username: String::new(),
            password: Kept::default(),
            max_open_connections: DEFAULT_OPEN,
            max_idle_connections: 0,
            max_connection_lifetime: Ttl::default(),
            username_template: String::new(),
            tls_ca: String::new(),
            tls_certificate: String::new(),
            tls_key: Kept::default(),
            tls_server_name: String::new(),
            disable_escaping: false,
            password_authentication: PasswordAuthentication::default(),
            terminate_sessions: true,
            timing: Timing::default(),
            id: crypto::random::base62(12).to_string(),
            version: String::new(),
            owned: false,
            pending: None,
            previous: None,
            last_rotation: None,
        }
    }

    /// Has what is open be opened anew.
    pub(crate) fn renew_version(&mut self) {
        self.version = crypto::random::base62(12).to_string();
    }

    /// What the target needs, to log in with `password`.
    pub(crate) fn settings(&self, password: &Kept) -> ConnectionConfig {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let open = if self.max_open_connections == 0 { DEFAULT_OPEN } else { self.max_open_connections };
        let idle = if self.max_idle_connections == 0 { open } else { self.max_idle_connections };
        ConnectionConfig {
            connection_url: self.connection_url.clone(),
            username: self.username.clone(),
            password: password.copy(),
            max_open_connections: count(open),
            max_idle_connections: count(idle),
            max_connection_lifetime: self.max_connection_lifetime.0,
            tls_ca: self.tls_ca.clone(),
            tls_certificate: self.tls_certificate.clone(),
            tls_key: self.tls_key.copy(),
            tls_server_name: self.tls_server_name.clone(),
            disable_escaping: self.disable_escaping,
            password_authentication: self.password_authentication,
            terminate_sessions: self.terminate_sessions,
        }
    }

    /// Whether a role may use this connection: its name, or a pattern with `*`, stands in `allowed_roles`.
    pub(crate) fn allows(&self, role: &str) -> bool {
        self.allowed_roles.iter().any(|pattern| glob(pattern, role))
    }

    /// The template of user names.
    pub(crate) fn template<T: Targets>(&self) -> Result<UsernameTemplate, Error> {
        let kind = Databases::<T>::kind(&self.plugin_name)?;
        let text = if self.username_template.is_empty() { kind.username_template } else { &self.username_template };
        UsernameTemplate::parse(text, kind.max_username).map_err(|error| Error::invalid(error.to_string()))
    }

    /// The servers, as the address names them: `host:port`, or the values of `host`, `hostaddr` and `port`.
    fn place(&self) -> String {
        let (authority, rest) = match self.connection_url.split_once("://") {
            Some((_, rest)) => {
                let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
                let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
                (rest.split('/').next().unwrap_or_default(), query)
            }
            None => ("", self.connection_url.as_str()),
        };
        let words = rest.split(|c: char| c == '&' || c.is_whitespace()).filter_map(|word| word.split_once('='));
        let named = words.filter(|(name, _)| ["host", "hostaddr", "port"].contains(name));
        let mut named: Vec<_> = named.map(|(name, value)| format!("{name}={value}")).collect();
        named.sort();
        named.insert(0, authority.to_owned());
        named.join(" ").trim().to_owned()
    }

    /// Whether the password can be changed by us: it is ours to send, not part of the URL.
    pub(crate) fn can_rotate(&self) -> bool {
        !self.username.is_empty() && !self.password.0.is_empty() && self.connection_url.contains("{{password}}")
    }
}

/// The fields of a request. What is absent stays as it is.
#[derive(Deserialize)]
pub(crate) struct Write {
    plugin_name: Option<String>,
    plugin_version: Option<String>,
    verify_connection: Option<Flag>,
    allowed_roles: Option<CommaList>,
    #[serde(alias = "root_credentials_rotate_statements")]
    root_rotation_statements: Option<Statements>,
    password_policy: Option<String>,
    connection_url: Option<String>,
    username: Option<String>,
    password: Option<SecretString>,
    max_open_connections: Option<Count>,
    max_idle_connections: Option<Count>,
    max_connection_lifetime: Option<Ttl>,
    username_template: Option<String>,
    tls_ca: Option<String>,
    tls_certificate: Option<String>,
    #[serde(alias = "private_key")]
    tls_key: Option<SecretString>,
    tls_server_name: Option<String>,
    disable_escaping: Option<Flag>,
    password_authentication: Option<PasswordAuthentication>,
    terminate_sessions: Option<Flag>,
    rotation_period: Option<Ttl>,
    rotation_schedule: Option<String>,
    rotation_window: Option<Ttl>,
    disable_automated_rotation: Option<Flag>,
}

pub(crate) async fn list<T: Targets>(cx: Call<T>, _: (), paging: Paging) -> Result<Keys, Error> {
    names(&cx, FOLDER, paging).await
}

pub(crate) async fn exists<T: Targets>(cx: Call<T>, name: Name) -> Result<bool, Error> {
    Ok(load(cx.view(), name.as_str()).await?.is_some())
}

pub(crate) async fn write<T: Targets>(cx: Call<T>, name: Name, mut write: Write) -> Result<Done, Error> {
    let name = name.as_str();
    let before = load(cx.view(), name).await?;
    let given = write.password.take();
    let mut connection = merge(before.clone(), write)?;
    if given.is_none() && before.as_ref().is_some_and(|before| before.username != connection.username) {
        return Err(Error::invalid("password: give the password of the new username too"));
    }
    if !connection.plugin_version.is_empty() {
        cx.warn("plugin_version: the databases are part of the server, so there is one version only");
    }
    if connection.username_template.len() + connection.connection_url.len() > MAX_TEXT {
        return Err(Error::invalid("connection_url, username_template: must not exceed 64 KiB"));
    }
    check::<T>(&cx, &connection).await?;
    take_password::<T>(&cx, before.as_ref(), &mut connection, given).await?;
    let changed = before.as_ref().is_none_or(|before| opens_differently(before, &connection));
    if changed {
        connection.renew_version();
        let target = open_and_verify::<T>(&connection).await?;
        cx.engine().connections.keep(name, &connection.version, target);
    }
    if let Some(before) = before.as_ref().filter(|before| before.place() != connection.place()) {
        warn_of_users(&cx, before).await?;
    }
    let plan = connection.timing.plan()?;
    if plan.is_some() && !connection.can_rotate() {
        return Err(Error::invalid(CANNOT_ROTATE));
    }
    if before.is_none() && connection.verify_connection {
        inherit(&cx, name, &mut connection).await?;
    }
    store(cx.view(), name, &connection)?;
    if before.is_none_or(|before| before.timing != connection.timing) {
        cx.plan(&format!("{ROOT}/{name}"), plan).await?;
    }
    Ok(Done)
}

/// Users are removed where their connection leads at that time. Only the operator knows whether a new address is another
/// name of the same server.
async fn warn_of_users<T: Targets>(cx: &Call<T>, before: &Connection) -> Result<(), Error> {
    let users = orphans::leased_users(cx.scope(), &before.id).await?.len();
    if users > 0 {
        cx.warn(format!(
            "connection_url: {users} user(s) made at the address before are still leased and will be looked for at the new one. If that              is another server, set the address back, delete the connection, which keeps its login for them, and create it anew"
        ));
    }
    Ok(())
}

/// A connection that is created again for the same servers takes over the users of the one that was deleted. Its login
/// is known to work: that of the one before is forgotten.
async fn inherit<T: Targets>(cx: &Call<T>, name: &str, connection: &mut Connection) -> Result<(), Error> {
    for id in cx.view().list(&retired_folder(name), None, MAX_RETIRED).await?.names {
        let retired = load_retired(cx.view(), name, &id).await?;
        if retired.is_some_and(|retired| retired.place() == connection.place()) {
            cx.view().delete(&retired_key(name, &id));
            connection.id = id;
            return Ok(());
        }
    }
    Ok(())
}

fn merge(before: Option<Connection>, write: Write) -> Result<Connection, Error> {
    let mut to = match (before, &write.plugin_name) {
        (Some(before), _) => before,
        (None, Some(plugin)) => Connection::new(plugin),
        (None, None) => return Err(Error::invalid("plugin_name: is missing, such as \"postgresql-database-plugin\"")),
    };
    fn set<V>(to: &mut V, value: Option<V>) {
        if let Some(value) = value {
            *to = value;
        }
    }
    set(&mut to.plugin_name, write.plugin_name);
    set(&mut to.plugin_version, write.plugin_version);
    set(&mut to.verify_connection, write.verify_connection.map(|flag| flag.0));
    set(&mut to.allowed_roles, write.allowed_roles.map(|list| list.0));
    set(&mut to.root_rotation_statements, write.root_rotation_statements);
    set(&mut to.password_policy, write.password_policy);
    set(&mut to.connection_url, write.connection_url);
    set(&mut to.username, write.username);
    set(&mut to.max_open_connections, write.max_open_connections.map(|count| count.0));
    set(&mut to.max_idle_connections, write.max_idle_connections.map(|count| count.0));
    set(&mut to.max_connection_lifetime, write.max_connection_lifetime);
    set(&mut to.username_template, write.username_template);
    set(&mut to.tls_ca, write.tls_ca);
    set(&mut to.tls_certificate, write.tls_certificate);
    set(&mut to.tls_key, write.tls_key.map(Kept));
    set(&mut to.tls_server_name, write.tls_server_name);
    set(&mut to.disable_escaping, write.disable_escaping.map(|flag| flag.0));
    set(&mut to.password_authentication, write.password_authentication);
    set(&mut to.terminate_sessions, write.terminate_sessions.map(|flag| flag.0));
    to.timing.merge(Wished {
        period: write.rotation_period,
        schedule: write.rotation_schedule,
        window: write.rotation_window,
        disabled: write.disable_automated_rotation,
    });
    Ok(to)
}

async fn check<T: Targets>(cx: &Call<T>, connection: &Connection) -> Result<(), Error> {
    let kind = Databases::<T>::kind(&connection.plugin_name)?;
    connection.template::<T>()?;
    if !connection.root_rotation_statements.is_empty() {
        (kind.check)(&connection.root_rotation_statements, Purpose::Rotate).map_err(|error| {
            // Statements of this purpose are known by the field of static roles.
            let text = error.to_string();
            Error::invalid(format!("root_{}", text.trim_start_matches("root_")))
        })?;
    }
    if !connection.password_policy.is_empty() {
        cx.password(&connection.password_policy).await.map_err(|error| error.of_part("password_policy"))?;
    }
    connection.timing.plan()?;
    Ok(())
}

/// Once the server has made the password itself, a configuration that is applied again with an older one must not lock
/// it out. A password is taken over only if the account is another one, or if it works where ours does not.
async fn take_password<T: Targets>(
    cx: &Call<T>,
    before: Option<&Connection>,
    connection: &mut Connection,
    given: Option<SecretString>,
) -> Result<(), Error> {
    let Some(given) = given else { return Ok(()) };
    let owner = before.filter(|before| before.owned || before.pending.is_some());
    let Some(before) = owner.filter(|before| before.username == connection.username) else {
        connection.owned = false;
        connection.pending = None;
        connection.previous = None;
        connection.password = Kept(given);
        return Ok(());
    };
    let offered = Kept(given);
    // Both are tried where the connection will lead: it may have moved to a server that knows another one.
    if connection.verify_connection
        && !works::<T>(connection, &before.password).await
        && works::<T>(connection, &offered).await
    {
        connection.owned = false;
        connection.pending = None;
        connection.password = offered;
        return Ok(());
    }
    cx.warn("password: not taken over, because the server has rotated it and the one it made is in force");
    Ok(())
}

async fn works<T: Targets>(connection: &Connection, password: &Kept) -> bool {
    let Ok(kind) = Databases::<T>::kind(&connection.plugin_name) else { return false };
    let Ok(target) = (kind.open)(&connection.settings(password)) else { return false };
    target.verify().await.is_ok()
}

async fn open_and_verify<T: Targets>(connection: &Connection) -> Result<Opened, Error> {
    let kind = Databases::<T>::kind(&connection.plugin_name)?;
    let target =
        (kind.open)(&connection.settings(&connection.password)).map_err(|error| Error::invalid(error.to_string()))?;
    if connection.verify_connection {
        let verified = target.verify().await;
        verified.map_err(|error| {
            Error::invalid(format!("error creating database object: error verifying connection: {error}"))
        })?;
    }
    Ok(target)
}

/// Whether something changed that a connection is opened with. The rest can be edited also while the database is down.
fn opens_differently(before: &Connection, after: &Connection) -> bool {
    // EXPOSE: compared, in constant time, to see whether they are the same.
    let same = |a: &Kept, b: &Kept| a.0.matches(b.0.expose());
    let of = |connection: &Connection| {
        let Connection { plugin_name, connection_url, username, tls_ca, tls_certificate, tls_server_name, .. } =
            connection.clone();
        let limits =
            (connection.max_open_connections, connection.max_idle_connections, connection.max_connection_lifetime);
        let flags = (connection.disable_escaping, connection.password_authentication, connection.terminate_sessions);
        (plugin_name, connection_url, username, tls_ca, tls_certificate, tls_server_name, limits, flags)
    };
    let turned_on = after.verify_connection && !before.verify_connection;
    of(before) != of(after)
        || turned_on
        || !same(&before.password, &after.password)
        || !same(&before.tls_key, &after.tls_key)
}

/// Deletes a connection. While users made through it live, it is kept aside so that they can be removed.
pub(crate) async fn delete<T: Targets>(cx: Call<T>, name: Name) -> Result<Done, Error> {
    let name = name.as_str();
    let _turn = turn(&cx, &turn_of(name)).await;
    let Some(connection) = load(cx.view(), name).await? else { return Ok(Done) };
    let used = orphans::leased_users(cx.scope(), &connection.id).await?;
    if !used.is_empty() {
        cx.view().put_json(&retired_key(name, &connection.id), &connection)?;
        cx.warn(format!(
            "{} user(s) made through this connection are still leased; its login is kept until they are gone",
            used.len()
        ));
    }
    cx.view().delete(&key(name));
    cx.plan(&format!("{ROOT}/{name}"), None).await?;
    cx.engine().connections.forget(name);
    Ok(Done)
}

pub(crate) async fn reset<T: Targets>(cx: Call<T>, name: Name) -> Result<Done, Error> {
    required(&cx, name.as_str()).await?;
    cx.engine().connections.forget(name.as_str());
    Ok(Done)
}

/// Which connections were closed.
#[derive(Serialize)]
pub(crate) struct Reloaded {
    connections: Vec<String>,
    count: usize,
}

pub(crate) async fn reload<T: Targets>(cx: Call<T>, plugin: Name) -> Result<Data<Reloaded>, Error> {
    Databases::<T>::kind(plugin.as_str())?;
    let mut connections = Vec::new();
    for name in cx.view().list(FOLDER, None, usize::MAX - 1).await?.names {
        if load(cx.view(), &name).await?.is_some_and(|connection| connection.plugin_name == plugin.as_str()) {
            cx.engine().connections.forget(&name);
            connections.push(name);
        }
    }
    Ok(Data(Reloaded { count: connections.len(), connections }))
}

pub(crate) async fn load(view: &View, name: &str) -> Result<Option<Connection>, Error> {
    Ok(view.get_json(&key(name)).await?)
}

/// A deleted connection whose users are still leased.
pub(crate) async fn load_retired(view: &View, name: &str, id: &str) -> Result<Option<Connection>, Error> {
    Ok(view.get_json(&retired_key(name, id)).await?)
}

/// Other connections that log in to the same servers as the same user: a new password would lock them out.
pub(crate) async fn sharers(view: &View, name: &str, connection: &Connection) -> Result<Vec<String>, Error> {
    let mut sharers = Vec::new();
    for other in view.list(FOLDER, None, usize::MAX - 1).await?.names {
        let found = load(view, &other).await?.filter(|_| other != name);
        if found.is_some_and(|found| found.username == connection.username && found.place() == connection.place()) {
            sharers.push(other);
        }
    }
    Ok(sharers)
}

pub(crate) fn store(view: &View, name: &str, connection: &Connection) -> Result<(), Error> {
    Ok(view.put_json(&key(name), connection)?)
}

fn key(name: &str) -> String {
    format!("{FOLDER}{name}")
}

pub(crate) fn retired_key(name: &str, id: &str) -> String {
    format!("{}{id}", retired_folder(name))
}

fn retired_folder(name: &str) -> String {
    format!("retired/{name}/")
}

/// Whether `*` in the pattern can stand for what the name has there.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            let Some(at) = rest.find(part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// The connection that a request or a rotation names.
pub(crate) async fn required<T: Targets>(cx: &Here<T>, name: &str) -> Result<Connection, Error> {
    load(cx.view(), name).await?.ok_or_else(|| Error::invalid(missing(name).to_string()))
}

pub(crate) const CANNOT_ROTATE: &str = "unable to rotate root credentials: the connection needs username, password, and {{username}} and {{password}} in connection_url";
const FOLDER: &str = "config/";
const DEFAULT_OPEN: u64 = 4;
const MAX_RETIRED: usize = 100;
const MAX_TEXT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_roles_are_names_or_patterns() {
        let cases = [
            ("*", "anything", true),
            ("app", "app", true),
            ("app", "app2", false),
            ("app-*", "app-read", true),
            ("app-*", "other", false),
            ("*-read", "app-read", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("a*a", "a", false),
            ("", "app", false),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(glob(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn the_servers_of_a_url_are_found() {
        let place = |url: &str| Connection { connection_url: url.to_owned(), ..Connection::new("x") }.place();
        assert_eq!(place("postgresql://{{username}}:{{password}}@db:5432/app?x=1"), "db:5432");
        assert_eq!(place("postgresql://a:1,b:2/app"), "a:1,b:2");
        assert_eq!(place("postgresql://u:p@/app?port=5&sslmode=disable&host=%2Frun"), "host=%2Frun port=5");
        // Two databases of one server were taken for two servers, and rotating the one login locked out the other.
        let words = "host=db port=5432 user={{username}} password={{password}} dbname=";
        assert_eq!(place(&format!("{words}app")), place(&format!("{words}other")));
        assert_eq!(place(&format!("{words}app")), "host=db port=5432");
    }
}
