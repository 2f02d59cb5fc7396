//! One connection, set up so that nothing hangs and nothing is acknowledged before it is durable.

use std::{fmt, future::poll_fn, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Row, Statement, error::SqlState, types::ToSql};

use crate::address::Address;

/// A connection that is logged in.
pub(crate) struct Connection {
    client: Client,
    /// Whether the other side is PostgreSQL itself, which tells news to who listens.
    pub(crate) notifies: bool,
}

impl Connection {
    /// Connects. `news` is woken when the server tells something to who listens, and when the connection ends.
    pub(crate) async fn open(address: &Address, news: Option<Arc<Notify>>) -> Result<Self, Failure> {
        let config = address.config();
        let connecting = config.connect(address.connector.clone());
        // The driver's own limit does not cover the login, and is per host.
        let (client, mut driver) = match tokio::time::timeout(address.patience(), connecting).await {
            Err(_) => return Err(Failure::slow("the server did not answer in time")),
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Ok(Ok(connected)) => connected,
        };
        tokio::spawn(async move {
            // Ends with the connection. What goes wrong, whoever uses the client is told too.
            while let Some(Ok(message)) = poll_fn(|cx| driver.poll_message(cx)).await {
                if let (AsyncMessage::Notification(_), Some(news)) = (message, &news) {
                    news.notify_one();
                }
            }
            if let Some(news) = &news {
                news.notify_one();
            }
        });
        let mut connection = Self { client, notifies: false };
        let version = timed(SETTING_UP, connection.client.query_one("SELECT version()", &[])).await?;
        connection.notifies = version.try_get::<_, String>(0).is_ok_and(|text| text.starts_with("PostgreSQL"));
        connection.batch(SETUP).await?;
        if connection.notifies {
            connection.batch(DURABLE).await?;
        }
        Ok(connection)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(crate) async fn prepare(&self, sql: &str) -> Result<Statement, Failure> {
        timed(SETTING_UP, self.client.prepare(sql)).await
    }

    /// Runs statements without parameters.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        timed(ANSWER, self.client.batch_execute(sql)).await
    }

    /// Runs a statement and gives its rows.
    pub(crate) async fn query(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        timed(ANSWER, self.client.query(statement, parameters)).await
    }

    /// Runs a statement that was not prepared.
    pub(crate) async fn ask(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        timed(ANSWER, self.client.query(sql, parameters)).await
    }

    /// Runs a statement whose result does not matter.
    pub(crate) async fn execute(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        timed(ANSWER, self.client.execute(statement, parameters)).await
    }
}

async fn timed<T>(limit: Duration, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::slow("PostgreSQL did not answer in time")),
    }
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    text: String,
    code: Option<SqlState>,
    fatal: bool,
}

impl Failure {
    fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(answer) => Self {
                text: answer.message().to_owned(),
                code: Some(answer.code().clone()),
                fatal: matches!(answer.severity(), "FATAL" | "PANIC"),
            },
            None => Self { text: chain(error), code: None, fatal: true },
        }
    }

    pub(crate) fn slow(text: &str) -> Self {
        Self { text: text.to_owned(), code: None, fatal: true }
    }

    pub(crate) fn code(&self) -> Option<&SqlState> {
        self.code.as_ref()
    }

    pub(crate) fn has(&self, code: &SqlState) -> bool {
        self.code.as_ref() == Some(code)
    }

    /// Whether the connection is of no further use: it is gone, hangs, or leads to a server that does not take writes.
    pub(crate) fn is_broken(&self) -> bool {
        let class = self.code.as_ref().and_then(|code| code.code().get(..2)).unwrap_or_default();
        self.fatal || class == "57" && !self.has(&SqlState::QUERY_CANCELED) || class == "08" || class == "25"
    }

    /// Whether two transactions were in each other's way: the same may work at once.
    pub(crate) fn is_collision(&self) -> bool {
        self.has(&SqlState::T_R_SERIALIZATION_FAILURE)
            || self.has(&SqlState::T_R_DEADLOCK_DETECTED)
            || self.has(&SqlState::LOCK_NOT_AVAILABLE)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The error and its causes: the driver's own text alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A server that is stopped in the middle of a transaction holds the lock for no longer than this: then PostgreSQL ends
/// its transaction.
const SETUP: &str = "SET statement_timeout = '15s'; SET lock_timeout = '8s'; \
     SET idle_in_transaction_session_timeout = '2s'; SET default_transaction_isolation = 'read committed'";
/// Where it is turned off, PostgreSQL would acknowledge before it is durable. What waits for standbys stays as it is.
const DURABLE: &str = "SET client_min_messages = warning; \
     SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
     WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";
const SETTING_UP: Duration = Duration::from_secs(5);
/// Longer than the server itself gives a statement.
const ANSWER: Duration = Duration::from_secs(20);
