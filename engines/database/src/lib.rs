//! Database users made on demand.
