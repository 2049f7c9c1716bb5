//! Demultiplexed output, gathered so that a read of many small frames becomes few pieces.

use std::collections::VecDeque;

use crate::protocol::demux::{DemuxError, Demuxer, Stream};

/// Output of a container: bytes of one stream, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which one.
    pub stream: Stream,
    /// What it wrote; never empty.
    pub data: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Chunks {
    demux: Demuxer,
    queue: VecDeque<Chunk>,
    broken: Option<DemuxError>,
}

impl Chunks {
    /// Takes in what was read.
    pub(crate) fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() && self.broken.is_none() {
            match self.demux.decode(input) {
                Ok((consumed, payload)) => {
                    if let Some((stream, data)) = payload {
                        self.gather(stream, data, input.len());
                    }
                    input = &input[consumed..];
                }
                Err(error) => self.broken = Some(error),
            }
        }
    }

    /// `room` is how much of this read is left; most of it is usually the same stream's.
    fn gather(&mut self, stream: Stream, data: &[u8], room: usize) {
        match self.queue.back_mut() {
            Some(last) if last.stream == stream => last.data.extend_from_slice(data),
            _ if data.is_empty() => {}
            _ => {
                let mut gathered = Vec::with_capacity(room);
                gathered.extend_from_slice(data);
                self.queue.push_back(Chunk {
                    stream,
                    data: gathered,
                });
            }
        }
    }

    /// What there is; an error only after all that came before it.
    pub(crate) fn pop(&mut self) -> Result<Option<Chunk>, DemuxError> {
        match (self.queue.pop_front(), &self.broken) {
            (None, Some(error)) => Err(error.clone()),
            (chunk, _) => Ok(chunk),
        }
    }

    /// At the stream's end: whether it was at the end of a frame.
    pub(crate) fn finish(&self) -> Result<(), DemuxError> {
        self.demux.finish()
    }
}
