//! Ranks as processes of one machine, without MPI: the first starts the others, which are the same command, and adds up
//! what they send through pipes.
//!
//! Processes, not threads: a backend's random numbers come from one generator a process.

use super::ranks::{Ranks, Summed};
use crate::error::{Error, Result};
use crate::kernels::floats;
use burn::tensor::{Tensor, TensorData};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// Tells a process that it is one of the others, and which of how many: `1/4`.
const WORKER: &str = "OFA_WORKER";

/// This process among the others.
pub struct Workers {
    rank: usize,
    size: usize,
    /// Of the first process all others in order, of the others the first.
    peers: RefCell<Vec<Peer>>,
}

struct Peer {
    rank: usize,
    /// `None` once it is closed.
    to: Option<Box<dyn Write>>,
    from: Box<dyn Read>,
    /// Where this process started it.
    child: Option<Child>,
}

impl Workers {
    /// Starts `size - 1` processes with this one's arguments, or joins the one that started this.
    ///
    /// # Errors
    /// [`Error::Device`] when a process cannot be started, [`Error::Option`] for a `WORKER` that says nothing.
    pub fn start(size: usize) -> Result<Self> {
        if let Ok(place) = std::env::var(WORKER) {
            let wrong = || Error::option(WORKER, "a rank and a number of ranks, as in 1/4", &place);
            let (rank, size) = place.split_once('/').ok_or_else(wrong)?;
            let [rank, size] = [rank, size].map(|number| number.parse::<usize>().map_err(|_| wrong()));
            // Standard output carries sums.
            let first =
                Peer { rank: 0, to: Some(Box::new(std::io::stdout())), from: Box::new(std::io::stdin()), child: None };
            return Ok(Self { rank: rank?, size: size?, peers: RefCell::new(vec![first]) });
        }
        let peers = (1..size).map(|rank| Peer::start(rank, size)).collect::<Result<_>>()?;
        Ok(Self { rank: 0, size, peers: RefCell::new(peers) })
    }

    /// What `add` makes of the rows of all ranks, in their order: the same bytes on all of them.
    fn together(&self, own: Vec<u8>, add: impl Fn(&mut [u8], &[u8])) -> Result<Vec<u8>> {
        let mut peers = self.peers.borrow_mut();
        if self.rank > 0 {
            let first = &mut peers[0];
            first.send(&own)?;
            return first.receive(own.len());
        }
        let mut sum = own;
        for peer in peers.iter_mut() {
            let row = peer.receive(sum.len())?;
            add(&mut sum, &row);
        }
        peers.iter_mut().try_for_each(|peer| peer.send(&sum))?;
        Ok(sum)
    }
}

impl Peer {
    fn start(rank: usize, size: usize) -> Result<Self> {
        let failed = |error: std::io::Error| Error::device(format!("cannot start worker {rank}: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(WORKER, format!("{rank}/{size}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::device(format!("worker {rank} has no pipes")));
        };
        Ok(Self { rank, to: Some(Box::new(to)), from: Box::new(from), child: Some(child) })
    }

    fn send(&mut self, row: &[u8]) -> Result<()> {
        let sent = self.to.as_mut().map(|to| {
            to.write_all(&(row.len() as u64).to_le_bytes())?;
            to.write_all(row)?;
            to.flush()
        });
        sent.transpose().map_err(|_| self.gone())?;
        Ok(())
    }

    /// A row of this length.
    fn receive(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut found = [0; 8];
        self.from.read_exact(&mut found).map_err(|_| self.gone())?;
        if u64::from_le_bytes(found) != length as u64 {
            let reason =
                format!("worker {} sends something else than it should: resume from the last checkpoint", self.rank);
            return Err(Error::device(reason));
        }
        let mut row = vec![0; length];
        self.from.read_exact(&mut row).map_err(|_| self.gone())?;
        Ok(row)
    }

    fn gone(&self) -> Error {
        Error::device(format!("worker {} has ended: resume from the last checkpoint", self.rank))
    }
}

/// Applies `add` to numbers of `N` bytes, one by one.
fn numbers<const N: usize>(sum: &mut [u8], row: &[u8], add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    for (sum, value) in sum.as_chunks_mut::<N>().0.iter_mut().zip(row.as_chunks::<N>().0) {
        *sum = add(*sum, *value);
    }
}

impl Ranks for Workers {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum_pair(&self, values: [f64; 2]) -> Result<[f64; 2]> {
        let add = |a, b| (f64::from_le_bytes(a) + f64::from_le_bytes(b)).to_le_bytes();
        let own = values.map(f64::to_le_bytes).concat();
        let sums = self.together(own, |sum, row| numbers(sum, row, add))?;
        Ok(std::array::from_fn(|at| f64::from_le_bytes(sums.as_chunks().0[at])))
    }

    fn agree(&self, what: &'static str, value: u64) -> Result<()> {
        // The least, and the complement of the greatest.
        let least = |a, b| u64::from_le_bytes(a).min(u64::from_le_bytes(b)).to_le_bytes();
        let own = [value, !value].map(u64::to_le_bytes).concat();
        let found = self.together(own, |sum, row| numbers(sum, row, least))?;
        let [least, most] = std::array::from_fn(|at| u64::from_le_bytes(found.as_chunks().0[at]));
        if least == !most {
            return Ok(());
        }
        let reason = format!("worker {} has another {what} than the rest: resume from the last checkpoint", self.rank);
        Err(Error::device(reason))
    }

    fn sum<'a>(&'a self, values: Tensor<1>) -> Summed<'a> {
        Box::pin(async move {
            let device = values.device();
            let own = floats(values).await?.into_iter().flat_map(f32::to_le_bytes).collect();
            let add = |a, b| (f32::from_le_bytes(a) + f32::from_le_bytes(b)).to_le_bytes();
            let sum = self.together(own, |sum, row| numbers(sum, row, add))?;
            let sum: Vec<f32> = sum.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let count = sum.len();
            Ok(Tensor::from_data(TensorData::new(sum, [count]), &device))
        })
    }

    fn any(&self, set: Vec<bool>) -> Result<Vec<bool>> {
        let own = set.into_iter().map(u8::from).collect();
        let any = self.together(own, |sum, row| numbers(sum, row, |[a]: [u8; 1], [b]| [a | b]))?;
        Ok(any.into_iter().map(|set| set > 0).collect())
    }

    fn abort(&self) {
        let mut peers = self.peers.borrow_mut();
        for child in peers.iter_mut().filter_map(|peer| peer.child.as_mut()) {
            // One that has ended cannot be killed, and need not be.
            let _ = child.kill();
        }
    }
}

impl Drop for Workers {
    /// Waits for the others, which have no more to do once their pipes are closed.
    fn drop(&mut self) {
        for peer in self.peers.borrow_mut().iter_mut() {
            peer.to = None;
            if let Some(child) = &mut peer.child {
                let _ = child.wait();
            }
        }
    }
}
