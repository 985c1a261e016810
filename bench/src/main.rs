//! Comparisons measured side by side in one run. The result is the ratio; absolute figures are those
//! of the machine.

// Futures of the whole sale nest deeper than the compiler's default.
#![recursion_limit = "256"]

mod bare;
mod beside;
mod booked;
mod confirm;
mod cost;
mod decisions;
mod grants;
mod growth;
mod idle;
mod limits;
mod load;
mod overload;
mod paid;
mod processes;
mod push;
mod queue;
mod refusals;
mod searches;
mod seats;
mod sizes;
mod stage;
mod strategies;
mod worker;
mod wrk;

use clap::{Parser, Subcommand};

/// Measures Holdfast against the bare parts it is made of.
#[derive(Parser)]
#[command(name = "holdfast-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What a decision costs: refused and granted holds, as ratios to a script that does nothing
    Decisions(decisions::Options),
    /// What a confirmation takes, as a ratio to one majority write with journal
    Confirm(confirm::Options),
    /// Granted holds, as a ratio to a script with the same effects and a bare actix-web handler
    Grants(grants::Options),
    /// What operations cost as seats, bookings, events and queues grow
    Growth(growth::Options),
    /// Redis commands a second of a deployment while nothing happens
    Idle(idle::Options),
    /// What the machine can do without Holdfast: loopback, a bare handler, Redis scripts, bulk writes
    Limits(limits::Options),
    /// Holds at three times the rate that a server can serve: what is served, and how soon the rest is refused
    Overload(overload::Options),
    /// Bookings paid for and archived a second, and how far the archive is behind
    Paid(paid::Options),
    /// What 10,000 open WebSockets take of an API's memory, and how soon all know of a change
    Push(push::Options),
    /// What a million people in a waiting room take of Redis' memory, and what serving them costs
    Queue(queue::Options),
    /// The server that `refusals` and `seats` compare with
    #[command(hide = true)]
    Bare(bare::Options),
    /// Refused holds a second of a whole server, as a ratio to a bare actix-web handler
    Refusals(refusals::Options),
    /// What a search for seats costs Redis in houses of 50,000 seats that are nearly sold
    Searches(searches::Options),
    /// Seat maps of 50,000 seats a second, as a ratio to a bare actix-web handler
    Seats(seats::Options),
    /// A million seats against a thousand: opening the event, and holding a seat
    Sizes(sizes::Options),
    /// Holdfast beside what people would otherwise build, on the same Redis and MongoDB
    Strategies(strategies::Options),
    /// A worker draining a prepared booking log, as a ratio to raw bulk writes of the same documents
    Worker(worker::Options),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().command {
        Command::Decisions(options) => decisions::run(options).await,
        Command::Confirm(options) => confirm::run(options).await,
        Command::Grants(options) => grants::run(options).await,
        Command::Growth(options) => growth::run(options).await,
        Command::Idle(options) => idle::run(options).await,
        Command::Limits(options) => limits::run(options).await,
        Command::Overload(options) => overload::run(options).await,
        Command::Paid(options) => paid::run(options).await,
        Command::Push(options) => push::run(options).await,
        Command::Queue(options) => queue::run(options).await,
        Command::Bare(options) => bare::run(options).await,
        Command::Refusals(options) => refusals::run(options).await,
        Command::Searches(options) => searches::run(options).await,
        Command::Seats(options) => seats::run(options).await,
        Command::Sizes(options) => sizes::run(options).await,
        Command::Strategies(options) => strategies::run(options).await,
        Command::Worker(options) => worker::run(options).await,
    }
}
