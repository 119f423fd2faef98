//! The `keygate` program.

fn main() {}
