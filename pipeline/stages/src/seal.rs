//! Seal: tiles, signature, header and checkpoint of every block, off the commit path.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use graven_ledger::{BlockWriter, block_bytes};

use crate::batch::Durable;
use crate::clock;
use crate::counters::Counters;
use crate::disk_budget::DiskBudget;
use crate::failpoint;
use crate::stage::StageError;

#[derive(Debug)]
pub(crate) struct Sealer {
    pub(crate) blocks: BlockWriter,
    pub(crate) durable: Receiver<Durable>,
    pub(crate) counters: Arc<Counters>,
    /// Told what is written.
    pub(crate) disk: DiskBudget,
}

impl Sealer {
    /// Runs until upstream closes; the last step it gets is a seal.
    pub(crate) fn run(mut self) -> Result<(), StageError> {
        while let Ok(durable) = self.durable.recv() {
            match durable {
                Durable::Leaves(leaves) => {
                    failpoint::pass("seal, leaves");
                    self.blocks.append(&leaves)?;
                    let hashes = &leaves.hashes[..];
                    self.counters.seal.passed(hashes.len() as u64, size_of_val(hashes) as u64);
                }
                Durable::Block(header) => {
                    failpoint::pass("seal, block");
                    let header = self.blocks.seal(*header, clock::unix_s())?;
                    tracing::debug!(height = header.height, size = header.size, "sealed a block");
                    self.disk.add(block_bytes(&header));
                    self.counters.sealed(header);
                }
            }
        }
        Ok(())
    }
}
