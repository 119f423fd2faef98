//! The program's own origin, as a process.

use std::net::SocketAddr;

use super::{Program, keygate};

/// `keygate origin` on a free port; killed when this is dropped.
pub(crate) struct RunningOrigin {
    _program: Program,
    pub(crate) address: SocketAddr,
}

impl RunningOrigin {
    pub(crate) fn start() -> Self {
        let program = Program::start(keygate(["origin", "--listen", "127.0.0.1:0", "--threads", "1"]));
        let line = program.wait_for_stdout("its address", |line| line.contains("serves http://"));
        let address = line.rsplit_once("http://").unwrap().1.parse().unwrap();
        Self { _program: program, address }
    }
}
