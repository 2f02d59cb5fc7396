//! Making users, letting them live longer, changing passwords.

use std::time::Duration;

use clock::Timestamp;
use engine_database::{
    sql::{self, Template, Values},
    statements::Statements,
    target::{Error, NewUser, PasswordAuthentication, Purpose},
};
use secret::{SecretString, Zeroizing};
use tokio_postgres::error::SqlState;

use crate::{MAX_NAME, Postgresql, error::Failure, pool::Lent, scram, session::Session};

impl Postgresql {
    pub(crate) async fn create(&self, user: NewUser<'_>) -> Result<(), Error> {
        check_name(user.username)?;
        let template = self.template(user.statements, Purpose::Create)?;
        let sent = self.sent_password(user.password).await?;
        let expiration = timestamp(user.expiration);
        let values = Values { name: user.username, password: Some(&sent), expiration: Some(&expiration) };
        let sql = render(&template, &values)?;
        let result = self.apply(Step::soon(user.username), &template, &sql, &[&sent]).await;
        let Err(failure) = result else { return Ok(()) };
        if !user.rollback.is_empty() && !failure.error.outcome_unknown() {
            self.roll_back(user).await;
        }
        Err(failure.error)
    }

    pub(crate) async fn renew(
        &self,
        username: &str,
        expiration: Timestamp,
        statements: &Statements,
    ) -> Result<(), Error> {
        let expiration = timestamp(expiration);
        if statements.is_empty() {
            let (name, until) = (sql::quote_identifier(username), sql::quote_literal(&expiration));
            let sql = format!("ALTER ROLE {name} VALID UNTIL {}", *until);
            return self.alone(&sql, &[]).await.map_err(|failure| gone(failure, username));
        }
        let template = self.template(statements, Purpose::Renew)?;
        let values = Values { name: username, password: None, expiration: Some(&expiration) };
        let sql = render(&template, &values)?;
        self.apply(Step::change(username), &template, &sql, &[]).await.map_err(|failure| gone(failure, username))
    }

    pub(crate) async fn change_password(
        &self,
        username: &str,
        password: &SecretString,
        statements: &Statements,
    ) -> Result<(), Error> {
        let sent = self.sent_password(password).await?;
        if statements.is_empty() {
            let (name, literal) = (sql::quote_identifier(username), sql::quote_literal(&sent));
            let sql = Zeroizing::new(format!("ALTER ROLE {name} PASSWORD {}", *literal));
            let changed = self.guarded(Step::soon(username), "", &sql, &[&sent], false).await;
            return changed.map_err(|failure| gone(failure, username));
        }
        let template = self.template(statements, Purpose::Rotate)?;
        let values = Values { name: username, password: Some(&sent), expiration: None };
        let sql = render(&template, &values)?;
        self.apply(Step::soon(username), &template, &sql, &[&sent]).await.map_err(|failure| gone(failure, username))
    }

    pub(crate) async fn try_login(&self, username: &str, password: &SecretString) -> Result<bool, Error> {
        let config = self.address.login(username, password);
        // EXPOSE: to be taken out of error texts.
        match Session::open(&config, &self.address.connector, &[password.expose()]).await {
            Ok(_) => Ok(true),
            Err(Failure { error: Error::LoginRefused(_), .. }) => Ok(false),
            // These come after the password was accepted: no right to connect to this database, no place left.
            Err(failure) if failure.has(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(true),
            Err(failure) => Err(failure.error),
        }
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let prefix = sql::quote_literal(prefix);
        let sql = format!(
            "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.left(rolname, pg_catalog.length({0})) = {0} ORDER BY rolname",
            *prefix
        );
        let rows = self.pool.query(&sql).await.map_err(|failure| failure.error)?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    /// What goes into a statement for a password.
    async fn sent_password(&self, password: &SecretString) -> Result<Zeroizing<String>, Error> {
        // EXPOSE: it is turned into a verifier, or sent because the connection asks for it.
        let clear = Zeroizing::new(password.expose().clone());
        if self.password_authentication == PasswordAuthentication::Password {
            return Ok(clear);
        }
        // Thousands of hashes: not on a thread that serves others.
        let made = tokio::task::spawn_blocking(move || scram::verifier(&clear)).await;
        made.map_err(|_| Error::Invalid("the password could not be turned into a verifier".to_owned()))?
    }

    /// Runs the statements of a role in one transaction, with what keeps them apart from others.
    pub(crate) async fn apply(
        &self,
        step: Step<'_>,
        template: &Template,
        sql: &str,
        secrets: &[&str],
    ) -> Result<(), Failure> {
        let lock = if template.touches_shared_objects() { GRANT_LOCK } else { "" };
        self.guarded(step, lock, sql, secrets, template.may_change_session()).await
    }

    /// Runs statements in one transaction, with what keeps them apart from others. A session that they may leave
    /// changed is used for nothing else.
    async fn guarded(
        &self,
        step: Step<'_>,
        lock: &str,
        sql: &str,
        secrets: &[&str],
        changes_session: bool,
    ) -> Result<(), Failure> {
        let mut retry = Retry::default();
        loop {
            let lent = self.pool.get().await?;
            let mut text = Zeroizing::new(String::with_capacity(sql.len() + 512));
            step.guard(&lent, &mut text);
            text.push_str(lock);
            text.push_str(sql);
            let result = lent.batch(&text, secrets).await;
            match changes_session {
                true => drop(lent),
                false => lent.settle(&result),
            }
            if !retry.again(&result).await {
                return result;
            }
        }
    }

    /// Runs one statement of our own that concerns one user only.
    async fn alone(&self, sql: &str, secrets: &[&str]) -> Result<(), Failure> {
        let mut retry = Retry::default();
        loop {
            let result = self.pool.batch(sql, secrets).await;
            if !retry.again(&result).await {
                return result;
            }
        }
    }

    /// The transaction left nothing behind; these statements are for what lies outside it.
    async fn roll_back(&self, user: NewUser<'_>) {
        let rolled_back = async {
            let template = self.template(user.rollback, Purpose::Rollback)?;
            let sql = render(&template, &Values { name: user.username, password: None, expiration: None })?;
            self.apply(Step::change(user.username), &template, &sql, &[]).await.map_err(|failure| failure.error)
        };
        if let Err(error) = rolled_back.await {
            tracing::warn!(username = user.username, %error, "the rollback statements of a role failed");
        }
    }
}

/// What happens to a user. Making and removing the same user exclude each other.
pub(crate) struct Step<'a> {
    username: &'a str,
    /// Whether it must not take effect long after everybody has stopped expecting it.
    arrives_soon: bool,
}

impl<'a> Step<'a> {
    /// Makes the user, or gives it a password.
    fn soon(username: &'a str) -> Self {
        Self { username, arrives_soon: true }
    }

    pub(crate) fn change(username: &'a str) -> Self {
        Self { username, arrives_soon: false }
    }

    /// One statement, since each is read, planned and answered by itself.
    pub(crate) fn guard(&self, lent: &Lent, text: &mut String) {
        text.push_str("SELECT ");
        if self.arrives_soon {
            text.push_str(&lent.arrival_guard());
            text.push_str(", ");
        }
        text.push_str(&user_lock(self.username));
        text.push_str(";\n");
    }
}

/// Counts how often the same was tried while other transactions were in its way.
#[derive(Default)]
pub(crate) struct Retry {
    attempts: u32,
}

impl Retry {
    /// Waits and says yes if another try makes sense.
    pub(crate) async fn again<T: Sync>(&mut self, result: &Result<T, Failure>) -> bool {
        if self.attempts >= MAX_RETRIES || !result.as_ref().is_err_and(Failure::is_collision) {
            return false;
        }
        // Random, so that those who collided do not meet again.
        let ceiling = 10_u64 << self.attempts.min(5);
        self.attempts += 1;
        tokio::time::sleep(Duration::from_millis(5 + crypto::random::below(ceiling))).await;
        true
    }
}

/// An expression; the lock is held by whoever makes, changes or removes the user, until its transaction ends.
fn user_lock(username: &str) -> String {
    let hash = crypto::hash::sha256(username.as_bytes());
    let key = hash.iter().take(4).fold(0_u32, |key, byte| key << 8 | u32::from(*byte)).cast_signed();
    format!("pg_catalog.pg_advisory_xact_lock({LOCK_CLASS}, {key})")
}

pub(crate) fn render(template: &Template, values: &Values<'_>) -> Result<Zeroizing<String>, Error> {
    template.render(values).map_err(|flaw| Error::BadStatement(flaw.to_string()))
}

/// A user that is not there cannot be changed; that is not the statement's fault.
fn gone(failure: Failure, username: &str) -> Error {
    match failure.has(&SqlState::UNDEFINED_OBJECT) {
        true => Error::Refused(format!("there is no user {username}")),
        false => failure.error,
    }
}

fn check_name(username: &str) -> Result<(), Error> {
    match username.len() {
        1..=MAX_NAME => Ok(()),
        _ => Err(Error::Invalid(format!("a user name must have 1 to {MAX_NAME} bytes"))),
    }
}

/// A moment as PostgreSQL reads it whatever its settings are.
fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

/// Two numbers are another space of locks than one number.
const LOCK_CLASS: i32 = 0x5352_4F4D;
/// One at a time changes the rights on shared objects of a database.
pub(crate) const GRANT_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(8319104486291829869);\n";
const MAX_RETRIES: u32 = 20;
