//! `keygate origin`: the mock AI upstream alone.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::run::announce;
use crate::server;

/// Serve a mock AI upstream.
///
/// It answers as OpenAI, Anthropic and Gemini do (models, chat, messages, generateContent; streams too), asks for no
/// key, and is fast enough to benchmark against (docs/performance.md has its rate). `GET /` lists its endpoints.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keygate origin
  keygate origin --listen 127.0.0.1:9002
  curl -N 'http://127.0.0.1:9001/v1/chat/completions?chunks=5&delay_ms=300' -d '{\"model\":\"gpt-mock\",\"stream\":true,\"messages\":[]}'")]
pub(super) struct Arguments {
    /// The address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Worker threads; by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,
}

pub(super) fn origin(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    server::run_origin(arguments.listen, arguments.threads, |address| {
        announce(&format!("keygate origin serves http://{address}"));
    })?;
    Ok(ExitCode::SUCCESS)
}
