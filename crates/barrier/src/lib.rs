//! An encrypted store over a store.
