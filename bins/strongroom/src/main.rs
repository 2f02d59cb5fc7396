//! The server, the command line and the agent in one binary.

fn main() {}
