//! The target against a real PostgreSQL, through an administrator who may create roles and is no superuser.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use clock::{Clock, Timestamp, after};
use database_postgresql::KIND;
use engine_database::{
    statements::Statements,
    target::{ConnectionConfig, Database, Error, NewUser, PasswordAuthentication, Removed},
};
use secret::SecretString;
use testkit::postgres::Postgres;

static POSTGRES: LazyLock<Postgres> = LazyLock::new(|| {
    let postgres = Postgres::start();
    postgres.admin("admin", "admin-password");
    postgres.psql("CREATE ROLE readers; CREATE TABLE shared (id int); INSERT INTO shared VALUES (7); GRANT SELECT ON shared TO readers");
    // Who grants must hold the right with the option to grant it; for groups, PostgreSQL 16 and later ask for that too.
    postgres.psql("GRANT SELECT ON shared TO admin WITH GRANT OPTION; GRANT ALL ON SCHEMA public TO admin");
    postgres.psql("GRANT readers TO admin WITH ADMIN OPTION");
    postgres
});

const MEMBER: &str =
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE readers";
const GRANTED: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                       GRANT SELECT ON shared TO \"{{name}}\"";

fn config(postgres: &Postgres, parameters: &str) -> ConnectionConfig {
    ConnectionConfig {
        connection_url: format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{}/postgres?connect_timeout={}&{parameters}",
            postgres.port(),
            PATIENCE.as_secs()
        ),
        username: "admin".to_owned(),
        password: secret("admin-password"),
        max_open_connections: 4,
        max_idle_connections: 4,
        max_connection_lifetime: Duration::ZERO,
        tls_ca: String::new(),
        tls_certificate: String::new(),
        tls_key: secret(""),
        tls_server_name: String::new(),
        disable_escaping: false,
        password_authentication: PasswordAuthentication::ScramSha256,
        terminate_sessions: true,
    }
}

fn open(config: &ConnectionConfig) -> Arc<dyn Database> {
    (KIND.open)(config).unwrap()
}

fn target() -> Arc<dyn Database> {
    open(&config(&POSTGRES, "sslmode=disable"))
}

fn secret(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

fn statements(text: &str) -> Statements {
    Statements(if text.is_empty() { Vec::new() } else { vec![text.to_owned()] })
}

fn in_an_hour() -> Timestamp {
    after(Clock::system().now(), Duration::from_secs(3600))
}

async fn create(target: &Arc<dyn Database>, username: &str, password: &str, creation: &str) -> Result<(), Error> {
    let user = NewUser {
        username,
        password: &secret(password),
        expiration: in_an_hour(),
        statements: &statements(creation),
        rollback: &statements(""),
    };
    target.create_user(user).await
}

async fn remove(target: &Arc<dyn Database>, username: &str) -> Result<Removed, Error> {
    target.drop_user(username, &statements("")).await
}

#[tokio::test]
async fn a_user_lives_from_its_creation_to_its_removal() {
    let target = target();
    target.verify().await.unwrap();
    create(&target, "u-life", "first-password", MEMBER).await.unwrap();
    let select = |password: &str| POSTGRES.try_psql("u-life", password, "postgres", "SELECT id FROM shared");
    assert_eq!(select("first-password").unwrap(), "7");
    assert!(target.login_works("u-life", &secret("first-password")).await.unwrap());
    assert!(!target.login_works("u-life", &secret("another")).await.unwrap());

    target.renew_user("u-life", Timestamp::from_second(4_000_000_000).unwrap(), &statements("")).await.unwrap();
    let until = "SELECT extract(epoch FROM rolvaliduntil)::bigint FROM pg_roles WHERE rolname = 'u-life'";
    assert_eq!(POSTGRES.psql(until), "4000000000");
    target.set_password("u-life", &secret("second-password"), &statements("")).await.unwrap();
    assert!(select("first-password").is_err());
    assert_eq!(select("second-password").unwrap(), "7");
    assert_eq!(target.list_users("u-lif").await.unwrap(), ["u-life"]);

    assert_eq!(remove(&target, "u-life").await, Ok(Removed::Dropped));
    assert_eq!(remove(&target, "u-life").await, Ok(Removed::AlreadyGone));
    assert!(!POSTGRES.has_role("u-life"));
    let renewed = target.renew_user("u-life", in_an_hour(), &statements("")).await;
    assert!(matches!(renewed, Err(Error::Refused(text)) if text.contains("no user u-life")));
}

#[tokio::test]
async fn the_password_never_reaches_the_server() {
    let target = target();
    create(&target, "u-scram", "never-in-a-log-1", MEMBER).await.unwrap();
    target.set_password("u-scram", &secret("never-in-a-log-2"), &statements("")).await.unwrap();
    let stored = POSTGRES.psql("SELECT rolpassword FROM pg_authid WHERE rolname = 'u-scram'");
    assert!(stored.starts_with("SCRAM-SHA-256$4096:"));
    // Statements are logged, also this one that fails.
    let broken = "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE";
    let error = create(&target, "u-scram-2", "never-in-a-log-3", broken).await.unwrap_err();
    assert!(matches!(error, Error::BadStatement(_)), "{error}");
    let log = std::fs::read_to_string(POSTGRES.directory().join("log")).unwrap();
    assert!(log.contains("u-scram") && log.contains("NONSENSE") && !log.contains("never-in-a-log"));

    let mut clear = config(&POSTGRES, "sslmode=disable");
    clear.password_authentication = PasswordAuthentication::Password;
    let target = open(&clear);
    create(&target, "u-clear", "a clear päss'word\\", MEMBER).await.unwrap();
    assert!(target.login_works("u-clear", &secret("a clear päss'word\\")).await.unwrap());
    // The message of the database quotes the literal: it must not reach us.
    let wrong = "CREATE ROLE \"{{name}}\" VALID UNTIL '{{password}}'";
    let error = create(&target, "u-clear-2", "not-a-date", wrong).await.unwrap_err().to_string();
    assert!(error.contains("***") && !error.contains("not-a-date"), "{error}");
    remove(&target, "u-clear").await.unwrap();
    remove(&target, "u-scram").await.unwrap();
}

/// Concurrent grants on one table fail with "tuple concurrently updated" and deadlocks when they are sent as they
/// come: hundreds of errors at 16 connections.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_do_not_hurt_each_other() {
    for (kind, creation, connections) in [("m", MEMBER, 4), ("g", GRANTED, 4), ("h", GRANTED, 16)] {
        let mut wide = config(&POSTGRES, "sslmode=disable");
        wide.max_open_connections = connections;
        wide.max_idle_connections = connections;
        let target = open(&wide);
        let begun = Instant::now();
        let name = |index: usize| format!("u-par-{kind}-{index}");
        let creating = (0..200).map(|index| {
            let target = Arc::clone(&target);
            let name = name(index);
            tokio::spawn(async move { create(&target, &name, "a-password", creation).await })
        });
        let failed: Vec<_> =
            futures::future::join_all(creating).await.into_iter().filter_map(|made| made.unwrap().err()).collect();
        assert_eq!(failed, []);
        let made = begun.elapsed();
        assert_eq!(target.list_users(&format!("u-par-{kind}-")).await.unwrap().len(), 200);
        let removing = (0..200).map(|index| {
            let target = Arc::clone(&target);
            let name = name(index);
            tokio::spawn(async move { remove(&target, &name).await })
        });
        for removed in futures::future::join_all(removing).await {
            assert_eq!(removed.unwrap(), Ok(Removed::Dropped));
        }
        println!("{kind} x{connections}: made in {made:?}, removed in {:?}", begun.elapsed() - made);
        assert!(target.list_users(&format!("u-par-{kind}-")).await.unwrap().is_empty());
    }
    // Nothing of them is left in the rights of the table.
    assert!(!POSTGRES.psql("SELECT relacl FROM pg_class WHERE relname = 'shared'").contains("u-par"));
}

#[tokio::test]
async fn a_user_with_possessions_rights_and_sessions_is_removed_all_the_same() {
    let target = target();
    POSTGRES.psql("CREATE DATABASE elsewhere");
    let name = "u-rich \"; DROP TABLE shared; --";
    create(&target, name, "a-password", MEMBER).await.unwrap();
    let quoted = "\"u-rich \"\"; DROP TABLE shared; --\"";
    let schema = "\"s \"\"; DROP TABLE shared; --\"";
    POSTGRES.psql("GRANT CONNECT ON DATABASE postgres TO admin WITH GRANT OPTION");
    POSTGRES.psql(&format!(
        "CREATE SCHEMA {schema} AUTHORIZATION {quoted}; SET ROLE admin; GRANT SELECT ON shared TO {quoted}; \
         GRANT CONNECT ON DATABASE postgres TO {quoted}; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {quoted}"
    ));
    POSTGRES.psql(&format!(
        "SET ROLE {quoted}; CREATE TABLE {schema}.t AS SELECT 5 AS id; GRANT SELECT ON {schema}.t TO readers"
    ));
    let superuser = POSTGRES.superuser_url();
    let password = superuser.split([':', '@']).nth(2).unwrap();
    let there = |sql: &str| POSTGRES.try_psql("postgres", password, "elsewhere", sql).unwrap();
    there("GRANT ALL ON SCHEMA public TO admin WITH GRANT OPTION");
    there(&format!(
        "SET ROLE admin; GRANT USAGE ON SCHEMA public TO {quoted}; CREATE TABLE t (id int); GRANT SELECT ON t TO {quoted}"
    ));

    let url = target.connection_url(name, &secret("a-password"));
    // EXPOSE: the test logs in as an application would.
    let (session, connection) = tokio_postgres::connect(url.expose(), tokio_postgres::NoTls).await.unwrap();
    let ended = tokio::spawn(connection);
    session.simple_query("SELECT * FROM shared").await.unwrap();

    // To own a schema one must have a right on the database. Without it, the user is locked out for the time being.
    let refused = remove(&target, name).await;
    assert!(matches!(&refused, Err(Error::NotPermitted(text)) if text.contains("locked out")), "{refused:?}");
    assert!(!target.login_works(name, &secret("a-password")).await.unwrap());
    POSTGRES.psql(&format!("GRANT CREATE ON DATABASE postgres TO admin; GRANT UPDATE ON shared TO {quoted}"));
    // Rights that a stranger gave are a stranger's to take away.
    let refused = remove(&target, name).await;
    assert!(
        matches!(&refused, Err(Error::Refused(text)) if text.contains("privileges for table shared")),
        "{refused:?}"
    );
    POSTGRES.psql(&format!("REVOKE ALL ON shared FROM {quoted}"));
    assert_eq!(remove(&target, name).await, Ok(Removed::Dropped));
    assert_eq!(target.list_users("u-rich").await.unwrap(), [""; 0]);
    assert!(ended.await.unwrap().is_err(), "the session was ended");
    assert_eq!(POSTGRES.psql(&format!("SELECT id FROM {schema}.t")), "5", "what it made is kept");
    assert_eq!(POSTGRES.psql("SELECT tableowner FROM pg_tables WHERE tablename = 't'"), "admin");
    assert_eq!(POSTGRES.psql("SELECT id FROM shared"), "7");
}

#[tokio::test]
async fn own_statements_remove_a_user_and_one_that_is_gone_is_a_success() {
    let target = target();
    let revocation = statements("REASSIGN OWNED BY \"{{name}}\" TO CURRENT_USER; DROP ROLE \"{{name}}\"");
    assert_eq!(target.drop_user("u-own", &revocation).await, Ok(Removed::AlreadyGone));
    create(&target, "u-own", "a-password", MEMBER).await.unwrap();
    let refused = target.drop_user("u-own", &statements("DROP ROLE nobody_of_this_name")).await;
    assert!(refused.is_err(), "the user is still there: {refused:?}");
    let simple = statements("DROP ROLE IF EXISTS \"{{name}}\"");
    assert_eq!(target.drop_user("u-own", &simple).await, Ok(Removed::Dropped));
    assert!(!POSTGRES.has_role("u-own"));
}

#[tokio::test]
async fn an_error_leaves_nothing_and_says_whose_it_is() {
    let target = target();
    let failing = "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; GRANT no_such_group TO \"{{name}}\"";
    assert!(matches!(create(&target, "u-err", "a-password", failing).await, Err(Error::BadStatement(_))));
    assert!(!POSTGRES.has_role("u-err"));
    let forbidden = "CREATE ROLE \"{{name}}\" SUPERUSER PASSWORD '{{password}}'";
    assert!(matches!(create(&target, "u-err", "a-password", forbidden).await, Err(Error::NotPermitted(_))));
    let long = "n".repeat(64);
    assert!(matches!(create(&target, &long, "a-password", MEMBER).await, Err(Error::Invalid(_))));
    create(&target, "u-err", "a-password", MEMBER).await.unwrap();
    assert!(
        matches!(create(&target, "u-err", "a-password", MEMBER).await, Err(Error::BadStatement(text)) if text.contains("exists"))
    );
    remove(&target, "u-err").await.unwrap();

    let mut stranger = config(&POSTGRES, "sslmode=disable");
    stranger.password = secret("not-the-password");
    let error = open(&stranger).verify().await.unwrap_err();
    assert!(matches!(error, Error::LoginRefused(_)) && !error.to_string().contains("not-the-password"), "{error}");
    let missing = config(&POSTGRES, "sslmode=disable").connection_url.replace("/postgres?", "/no_such_database?");
    let error =
        open(&ConnectionConfig { connection_url: missing, ..config(&POSTGRES, "") }).verify().await.unwrap_err();
    assert!(error.to_string().contains("no_such_database"), "{error}");
}

#[tokio::test]
async fn a_statement_that_changes_its_session_changes_no_other() {
    let mut one = config(&POSTGRES, "sslmode=disable");
    one.max_open_connections = 1;
    let target = open(&one);
    let changing = format!("SET search_path = 'nowhere'; {MEMBER}");
    create(&target, "u-set", "a-password", &changing).await.unwrap();
    create(&target, "u-set-2", "a-password", GRANTED).await.unwrap();
    remove(&target, "u-set").await.unwrap();
    remove(&target, "u-set-2").await.unwrap();
}

/// A request that is given up while PostgreSQL is at work has not failed: the role appears later. Its removal must not
/// come first and find nothing.
#[tokio::test]
async fn a_creation_that_was_given_up_is_waited_for() {
    let postgres = Postgres::start();
    postgres.admin("admin", "admin-password");
    postgres.psql("CREATE ROLE readers; GRANT readers TO admin WITH ADMIN OPTION");
    let target = open(&config(&postgres, "sslmode=disable"));
    // Somebody else holds a lock, and the creation comes to wait for it.
    let (gate, connection) = tokio_postgres::connect(&postgres.superuser_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    gate.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let wait_for = async |waiting: &str| {
        let begun = Instant::now();
        while postgres.psql("SELECT count(*) FROM pg_locks WHERE NOT granted") != waiting {
            assert!(begun.elapsed() < PATIENCE, "never {waiting} that wait");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let slow = format!("{MEMBER}; SELECT pg_advisory_xact_lock(7)");
    let creating = {
        let target = Arc::clone(&target);
        tokio::spawn(async move { create(&target, "u-slow", "a-password", &slow).await })
    };
    wait_for("1").await;
    creating.abort();
    assert!(!postgres.has_role("u-slow"), "it is not committed yet");
    let removing = tokio::spawn(async move { remove(&target, "u-slow").await });
    wait_for("2").await;
    gate.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    assert_eq!(removing.await.unwrap(), Ok(Removed::Dropped));
    assert!(!postgres.has_role("u-slow"));
}

#[tokio::test]
async fn the_administrator_changes_its_own_password() {
    POSTGRES.admin("self", "old-password");
    let own = |password: &str| ConnectionConfig {
        username: "self".to_owned(),
        password: secret(password),
        ..config(&POSTGRES, "sslmode=disable")
    };
    let target = open(&own("old-password"));
    target.set_password("self", &secret("new-password"), &statements("")).await.unwrap();
    assert!(target.login_works("self", &secret("new-password")).await.unwrap());
    assert!(!target.login_works("self", &secret("old-password")).await.unwrap());
    // Connections that are open go on.
    target.verify().await.unwrap();
    let own_statement = statements("ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}'");
    target.set_password("self", &secret("third-password"), &own_statement).await.unwrap();
    open(&own("third-password")).verify().await.unwrap();
}

/// Accepts connections and never says a word.
struct Door {
    port: u16,
    knocks: Arc<AtomicU32>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Door {
    /// Keeps them open if it `holds` them, and hangs up otherwise.
    async fn at(port: u16, holds: bool) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (port, knocks) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&knocks);
        let keeper = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                held.extend(holds.then_some(stream));
            }
        });
        Self { port, knocks, keeper }
    }

    fn knocks(&self) -> u32 {
        self.knocks.load(Ordering::Relaxed)
    }

    /// Leaves the port to another.
    async fn close(self) {
        self.keeper.abort();
        let _ = self.keeper.await;
    }
}

/// The pause after the first failure; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn an_outage_is_told_at_once_and_ends_by_itself() {
    let postgres = Postgres::start();
    postgres.admin("admin", "admin-password");
    postgres.psql("CREATE ROLE readers; GRANT readers TO admin WITH ADMIN OPTION");
    let target = open(&config(&postgres, "sslmode=disable"));
    create(&target, "u-out", "a-password", MEMBER).await.unwrap();
    postgres.stop();
    let error = remove(&target, "u-out").await.unwrap_err();
    assert!(error.may_pass(), "{error:?}");
    // In its place somebody who hangs up counts how often it is tried: with pauses that double, however often it is asked for.
    let door = Door::at(postgres.port(), false).await;
    let begun = Instant::now();
    for _ in 0..500 {
        assert!(matches!(target.verify().await, Err(Error::Unreachable(_))));
    }
    let (tried, took) = (door.knocks(), begun.elapsed());
    // The pause after the loss of the server may well have lasted all the time.
    assert!(tried < 20, "{tried} times");
    let pauses = FIRST_PAUSE * ((1 << tried.saturating_sub(1)) - 1);
    assert!(took >= pauses, "tried {tried} times in {took:?}");
    door.close().await;
    postgres.start_again();
    let begun = Instant::now();
    while let Err(error) = target.verify().await {
        assert!(error.may_pass() && begun.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(remove(&target, "u-out").await, Ok(Removed::Dropped));
    // Idle connections that lost their server are replaced without anybody noticing.
    postgres.restart();
    tokio::time::sleep(Duration::from_millis(60)).await;
    target.verify().await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_nobody_else() {
    let silent = Door::at(0, true).await;
    let dead = |timeout: u32| {
        let mut dead = config(&POSTGRES, "");
        dead.connection_url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/x?sslmode=disable&connect_timeout={timeout}",
            silent.port
        );
        open(&dead)
    };
    let asking = |dead: &Arc<dyn Database>| -> Vec<_> {
        let ask = |dead: Arc<dyn Database>| tokio::spawn(async move { dead.verify().await });
        (0..20).map(|_| ask(Arc::clone(dead))).collect()
    };
    // Whoever asks another one has its answer while they all still wait.
    let (alive, patient) = (target(), dead(3600));
    let waiting = asking(&patient);
    while silent.knocks() < 4 {
        tokio::task::yield_now().await;
    }
    alive.verify().await.unwrap();
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);

    // The time limit of those who try is one for all: who waited for a connection does not try again.
    let before = silent.knocks();
    let dead = dead(1);
    for answer in asking(&dead) {
        assert!(matches!(answer.await.unwrap(), Err(Error::Unreachable(_))));
    }
    assert!(silent.knocks() - before <= 10, "{} tries of 20 who asked", silent.knocks() - before);
    dead.close();
    assert!(dead.verify().await.is_err());
}

#[tokio::test]
async fn encryption_checks_as_much_as_it_is_told_to() {
    if !POSTGRES.has_tls() {
        println!("this PostgreSQL was built without TLS");
        return;
    }
    let ca = POSTGRES.ca_pem();
    let other = Postgres::start();
    let verify = |mode: &str, ca: &str, name: &str| {
        let mut secure = config(&POSTGRES, &format!("sslmode={mode}"));
        secure.tls_ca = ca.to_owned();
        secure.tls_server_name = name.to_owned();
        async move { open(&secure).verify().await }
    };
    for (mode, ca, name) in [
        ("require", "", ""),
        ("prefer", "", ""),
        ("require", ca, "other.example"),
        ("verify-ca", ca, "other.example"),
        ("verify-full", ca, ""),
        ("verify-full", ca, "localhost"),
    ] {
        assert_eq!(verify(mode, ca, name).await, Ok(()), "{mode} {name}");
    }
    for (mode, ca, name) in [
        ("verify-full", ca, "other.example"),
        ("verify-full", other.ca_pem(), ""),
        ("verify-ca", other.ca_pem(), ""),
        ("require", other.ca_pem(), ""),
        ("verify-full", "", ""),
    ] {
        let refused = verify(mode, ca, name).await;
        assert!(
            matches!(&refused, Err(Error::Unreachable(text)) if text.contains("certificate")),
            "{mode} {name}: {refused:?}"
        );
    }
}
