//! What the author of an engine or auth method imports.
