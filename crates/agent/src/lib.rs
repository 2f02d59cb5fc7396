//! Process supervision and secret delivery.
