//! Small programs that sell seats, each by another strategy, over one HTTP shape ([`http`]): what
//! `make bench-strategies` compares Holdfast with. README.md has the rules that hold for all.

mod counter;
mod http;
mod lock_document;
mod optimistic;
mod script_and_write;
mod set_nx;
mod single_writer;
mod stores;

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use stores::{Failure, Stores};

/// Sells seats by one of the strategies; prints the port that it listens on.
#[derive(Parser)]
#[command(name = "holdfast-strategies")]
struct Cli {
    /// How it decides who gets a seat
    #[arg(value_enum)]
    strategy: Name,
    /// Redis, shared by all processes
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// MongoDB, shared by all processes
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    /// Prefix of Redis' keys, and the database's name; processes with the same one sell the same
    /// seats
    #[arg(long, default_value = "strategies")]
    namespace: String,
    /// Where to listen; port 0 is a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads that serve HTTP; 0: as many as there are processors
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Stop when stdin reaches its end
    #[arg(long)]
    until_stdin_closes: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// A version in every seat's document in MongoDB
    Optimistic,
    /// A lock document in MongoDB for every seat
    LockDocument,
    /// A queue in Redis and one writer
    SingleWriter,
    /// A counter in Redis, checked before it is decremented
    Counter,
    /// SET NX in Redis for every seat
    SetNx,
    /// A script in Redis, then a write to MongoDB
    ScriptAndWrite,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let cli = Cli::parse();
    let stores = Stores::connect(&cli.redis_url, &cli.mongodb_url, &cli.namespace).await?;
    let serving = http::Serving {
        listen: cli.listen,
        threads: cli.threads,
        until_stdin_closes: cli.until_stdin_closes,
    };
    match cli.strategy {
        Name::Optimistic => serving.run(&stores, optimistic::Optimistic::new(&stores)).await,
        Name::LockDocument => {
            serving.run(&stores, lock_document::LockDocument::new(&stores).await?).await
        }
        Name::SingleWriter => {
            serving.run(&stores, single_writer::SingleWriter::start(&stores).await?).await
        }
        Name::Counter => serving.run(&stores, counter::Counter::new(&stores)).await,
        Name::SetNx => serving.run(&stores, set_nx::SetNx::new(&stores)).await,
        Name::ScriptAndWrite => {
            serving.run(&stores, script_and_write::ScriptAndWrite::new(&stores).await?).await
        }
    }
}
