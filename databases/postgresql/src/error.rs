//! What PostgreSQL and its driver say, in the engine's terms.

use engine_database::{
    sql::Template,
    statements::Statements,
    target::{Error, Purpose},
};
use tokio_postgres::error::SqlState;

/// An error with what is needed to decide on another try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    code: Option<SqlState>,
    collided: bool,
    /// Whether the connection is of no further use.
    pub(crate) broken: bool,
}

impl Failure {
    /// From an error while statements ran. `secrets` are taken out of what PostgreSQL says.
    pub(crate) fn running(error: &tokio_postgres::Error, secrets: &[&str]) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self::of(Error::Unknown(without(&chain(error), secrets)), true);
        };
        let code = answer.code().clone();
        let mut message = answer.message().to_owned();
        // Only the detail says which objects, or which right is missing.
        let telling = [SqlState::DEPENDENT_OBJECTS_STILL_EXIST, SqlState::INSUFFICIENT_PRIVILEGE];
        if let Some(detail) = answer.detail().filter(|_| telling.contains(&code)) {
            message = [message.as_str(), detail].join(": ").replace('\n', "; ");
        }
        let message = without(&message, secrets);
        let fatal = matches!(answer.severity(), "FATAL" | "PANIC");
        let collided = code == SqlState::INTERNAL_ERROR && message.starts_with("tuple concurrently");
        let error = match classify(&code) {
            _ if fatal => Error::Unknown(message),
            Class::Permission => Error::NotPermitted(message),
            Class::Passing => Error::Unreachable(message),
            Class::Statement => Error::BadStatement(format!("the database does not accept the statement: {message}")),
            Class::Other => Error::Refused(message),
        };
        Self { error, code: Some(code), collided, broken: fatal }
    }

    /// From an error while a connection was made.
    pub(crate) fn connecting(error: &tokio_postgres::Error, secrets: &[&str]) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self::of(Error::Unreachable(without(&chain(error), secrets)), true);
        };
        let message = without(answer.message(), secrets);
        let code = answer.code().clone();
        let login = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(&code);
        let error = match classify(&code) {
            _ if login => Error::LoginRefused(message),
            Class::Passing => Error::Unreachable(message),
            Class::Permission => Error::NotPermitted(message),
            Class::Statement | Class::Other => Error::Refused(message),
        };
        Self { error, code: Some(code), collided: false, broken: true }
    }

    pub(crate) fn of(error: Error, broken: bool) -> Self {
        Self { error, code: None, collided: false, broken }
    }

    /// Two transactions were in each other's way: the same may work at once.
    pub(crate) fn is_collision(&self) -> bool {
        self.collided || self.has(&SqlState::T_R_SERIALIZATION_FAILURE) || self.has(&SqlState::T_R_DEADLOCK_DETECTED)
    }

    pub(crate) fn has(&self, code: &SqlState) -> bool {
        self.code.as_ref() == Some(code)
    }
}

enum Class {
    Other,
    Passing,
    Permission,
    Statement,
}

fn classify(code: &SqlState) -> Class {
    let class = code.code().get(..2).unwrap_or_default();
    match class {
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => Class::Permission,
        // Connection trouble, no resources, an operator's intervention (also: the statement took too long).
        "08" | "53" | "57" => Class::Passing,
        "0A" | "22" | "25" | "26" | "2F" | "39" | "42" | "3D" | "3F" => Class::Statement,
        _ => Class::Other,
    }
}

/// The statements of a role, checked.
pub(crate) fn template(statements: &Statements, purpose: Purpose) -> Result<Template, Error> {
    let field = match purpose {
        Purpose::Create => "creation_statements",
        Purpose::Renew => "renew_statements",
        Purpose::Revoke => "revocation_statements",
        Purpose::Rollback => "rollback_statements",
        Purpose::Rotate => "rotation_statements",
    };
    Template::parse(statements, purpose).map_err(|flaw| Error::BadStatement(format!("{field}: {flaw}")))
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

fn without(text: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_of_what_the_database_says() {
        assert_eq!(without("syntax error at \"hunter2\"", &["", "hunter2"]), "syntax error at \"***\"");
    }

    #[test]
    fn codes_have_their_class() {
        let is = |code: &SqlState, wanted: fn(&Class) -> bool| assert!(wanted(&classify(code)), "{code:?}");
        is(&SqlState::INSUFFICIENT_PRIVILEGE, |class| matches!(class, Class::Permission));
        is(&SqlState::SYNTAX_ERROR, |class| matches!(class, Class::Statement));
        is(&SqlState::QUERY_CANCELED, |class| matches!(class, Class::Passing));
        is(&SqlState::TOO_MANY_CONNECTIONS, |class| matches!(class, Class::Passing));
        is(&SqlState::UNIQUE_VIOLATION, |class| matches!(class, Class::Other));
    }
}
