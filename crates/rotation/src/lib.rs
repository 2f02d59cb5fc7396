//! What must be rotated when.
