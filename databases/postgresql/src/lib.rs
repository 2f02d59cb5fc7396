//! PostgreSQL as a target.
