//! Removing users, also those that own objects, have rights in several databases, or are logged in.

use engine_database::{
    sql::{Values, quote_identifier, quote_literal},
    statements::Statements,
    target::{Error, Purpose, Removed},
};
use tokio_postgres::error::SqlState;

use crate::{
    Postgresql,
    error::Failure,
    session::Session,
    users::{GRANT_LOCK, Retry, Step, render},
};

impl Postgresql {
    pub(crate) async fn remove(&self, username: &str, statements: &Statements) -> Result<Removed, Error> {
        let removed = match statements.is_empty() {
            true => self.remove_our_way(username).await,
            false => self.remove_by(username, statements).await,
        };
        removed.map_err(|failure| failure.error)
    }

    /// The author's statements, unless the user is gone already.
    async fn remove_by(&self, username: &str, statements: &Statements) -> Result<Removed, Failure> {
        let of = |error| Failure::of(error, false);
        let template = self.template(statements, Purpose::Revoke).map_err(of)?;
        let values = Values { name: username, password: None, expiration: None };
        let sql = render(&template, &values).map_err(of)?;
        // Under the lock: a creation that is under way is waited for, not overlooked.
        if !self.exists(username).await? {
            return Ok(Removed::AlreadyGone);
        }
        match self.apply(Step::change(username), &template, &sql, &[]).await {
            Ok(()) => Ok(Removed::Dropped),
            // Somebody else may have removed it between the two.
            Err(failure) if failure.has(&SqlState::UNDEFINED_OBJECT) && !self.exists(username).await? => {
                Ok(Removed::AlreadyGone)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Nearly all users have no sessions and own nothing: one round trip. For the others the long way.
    async fn remove_our_way(&self, username: &str) -> Result<Removed, Failure> {
        match self.drop_role(username, self.terminate_sessions).await {
            Err(failure) if failure.has(&BUSY) || failure.has(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {}
            quick => return quick,
        }
        match self.clear(username).await {
            Err(failure) if failure.has(&SqlState::UNDEFINED_OBJECT) => return Ok(Removed::AlreadyGone),
            cleared => cleared?,
        }
        self.drop_role(username, false).await.map_err(explain)
    }

    async fn drop_role(&self, username: &str, unless_busy: bool) -> Result<Removed, Failure> {
        let name = quote_identifier(username);
        let check = if unless_busy { busy_check(username) } else { String::new() };
        let mut retry = Retry::default();
        let dropped = loop {
            let lent = self.pool.get().await?;
            let mut sql = String::new();
            Step::change(username).guard(&lent, &mut sql);
            sql.push_str(&check);
            sql.push_str(&format!("DROP ROLE {name}"));
            let result = lent.batch(&sql, &[]).await;
            lent.settle(&result);
            if !retry.again(&result).await {
                break result;
            }
        };
        match dropped {
            Ok(()) => Ok(Removed::Dropped),
            Err(failure) if failure.has(&SqlState::UNDEFINED_OBJECT) => Ok(Removed::AlreadyGone),
            Err(failure) => Err(failure),
        }
    }

    /// Ends the user's sessions, hands what it owns to the administrator, and takes its rights away everywhere.
    async fn clear(&self, username: &str) -> Result<(), Failure> {
        let (name, literal) = (quote_identifier(username), quote_literal(username));
        let lent = self.pool.get().await?;
        let result = self.clear_with(&lent, &name, &literal).await;
        lent.settle(&result);
        result
    }

    async fn clear_with(&self, session: &Session, name: &str, literal: &str) -> Result<(), Failure> {
        // Nobody logs in any more, also if what follows must be tried again later.
        session.batch(&format!("ALTER ROLE {name} NOLOGIN"), &[]).await?;
        // Whoever may act for a role may end its sessions and hand on what it owns.
        let options = if session.version() >= 160_000 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
        persist(session, &format!("GRANT {name} TO CURRENT_USER{options}")).await?;
        if self.terminate_sessions {
            let sql = format!(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = {literal}"
            );
            session.batch(&sql, &[]).await?;
        }
        let own = "pg_catalog.current_database()";
        let others = format!(
            "SELECT DISTINCT d.datname, d.datname = {own} FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
             JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
             AND r.rolname = {literal} AND d.datallowconn ORDER BY 2 DESC LIMIT {MAX_DATABASES}"
        );
        let databases = session.query(&others, &[]).await?;
        let hand_on = format!("{GRANT_LOCK}REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}");
        // Here in any case: this also takes away rights on what belongs to no database.
        persist(session, &hand_on).await.map_err(explain)?;
        for row in databases {
            let mut row = row.into_iter().flatten();
            let (Some(database), Some(here)) = (row.next(), row.next()) else { continue };
            if here == "f" {
                let config = self.address.admin_of(&database);
                // EXPOSE: to be taken out of error texts.
                let there =
                    Session::open(&config, &self.address.connector, &[self.address.password().expose()]).await?;
                persist(&there, &hand_on).await.map_err(explain)?;
            }
        }
        Ok(())
    }

    async fn exists(&self, username: &str) -> Result<bool, Failure> {
        let lent = self.pool.get().await?;
        let mut sql = String::new();
        Step::change(username).guard(&lent, &mut sql);
        sql.push_str(&format!("SELECT 'here' FROM pg_catalog.pg_roles WHERE rolname = {}", *quote_literal(username)));
        let result = lent.query(&sql, &[]).await;
        lent.settle(&result);
        Ok(result?.into_iter().flatten().flatten().any(|text| text == "here"))
    }
}

/// Objects are handed on, never destroyed; so the administrator must be allowed to take them.
fn explain(mut failure: Failure) -> Failure {
    let given_by_others = failure.has(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    if let Error::Refused(text) = &mut failure.error
        && given_by_others
    {
        text.push_str(
            ". The user is locked out, but has rights that somebody else gave it and that the administrator of the connection cannot \
             take away: revoke them, or give the role revocation_statements",
        );
    }
    if let Error::NotPermitted(text) = &mut failure.error {
        text.push_str(
            ". The user is locked out, but owns objects that the administrator of the connection may not take over: grant it CREATE \
             on that database or schema, or give the role revocation_statements",
        );
    }
    failure
}

/// Runs statements of our own, again while other transactions are in the way.
async fn persist(session: &Session, sql: &str) -> Result<(), Failure> {
    let mut retry = Retry::default();
    loop {
        let result = session.batch(sql, &[]).await;
        if !retry.again(&result).await {
            return result;
        }
    }
}

/// Fails with [`BUSY`] if the user is logged in somewhere.
fn busy_check(username: &str) -> String {
    let inner = format!(
        "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE usename = {}) THEN \
         RAISE EXCEPTION 'the user is logged in' USING ERRCODE = '{}'; END IF; END",
        *quote_literal(username),
        BUSY.code()
    );
    format!("DO {};\n", *quote_literal(&inner))
}

/// `DROP ROLE` itself never fails with this.
const BUSY: SqlState = SqlState::OBJECT_IN_USE;
const MAX_DATABASES: u32 = 64;
