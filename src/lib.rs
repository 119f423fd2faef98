//! keygate: an edge authentication gateway for AI APIs, built on Pingora.
//!
//! The modules, in the order in which data flows; each knows only the ones before it (`tests/tidy.rs` checks):
//!
//! ```text
//! file → config → policy → auth → limit → upstream → proxy → response
//!        as       as       the    rates   where it   the
//!        written  needed   decision       leads      phases
//! ```

pub mod clock;
mod connection;
pub mod problem;
pub mod secret;
mod timer;

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod limit;
pub mod origin;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod telemetry;
pub mod upstream;
