//! Makes the records of a file durable with something that is not Graven, and prints a line of JSON for each
//! way of doing so.

#![expect(clippy::print_stdout, reason = "a command-line tool")]

mod file;
mod kafka;
mod load;
mod sqlite;

use clap::{Parser, ValueEnum};

use load::{Load, LoadArgs};

#[derive(Debug, Parser)]
struct Cli {
    peer: Peer,
    #[command(flatten)]
    load: LoadArgs,
    /// Where Kafka listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    address: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Peer {
    File,
    Sqlite,
    Kafka,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let load = Load::read(cli.load)?;
    let rows = match cli.peer {
        Peer::File => file::rows(&load)?,
        Peer::Sqlite => sqlite::rows(&load)?,
        Peer::Kafka => kafka::rows(&load, &cli.address)?,
    };
    for row in rows {
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}
