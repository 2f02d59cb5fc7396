//! The pipeline, seal and unseal, sys routes and background work.
