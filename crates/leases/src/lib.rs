//! What must be renewed or revoked when.
