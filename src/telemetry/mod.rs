//! What the gateway tells about itself: its log, the line for each denial, what is under way.

pub mod access_log;
pub mod cells;
pub mod denial_log;
pub mod denial_records;
mod exposition;
pub mod in_flight;
pub mod log;
pub mod metrics;
