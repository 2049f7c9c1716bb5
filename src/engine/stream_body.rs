//! A request body that is read as it is sent, so that its size does not show in our memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};
use tokio::io::{AsyncRead, ReadBuf};

use super::transport::Body;

const CHUNK: usize = 64 * 1024;

struct Reading<R> {
    reader: Pin<Box<R>>,
    buffer: Vec<u8>,
}

/// `reader` as a chunked request body.
pub(crate) fn stream_body(reader: impl AsyncRead + Send + 'static) -> Body {
    Reading {
        reader: Box::pin(reader),
        buffer: vec![0; CHUNK],
    }
    .boxed_unsync()
}

impl<R: AsyncRead> hyper::body::Body for Reading<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let mut buffer = ReadBuf::new(&mut this.buffer);
        Poll::Ready(
            match ready!(this.reader.as_mut().poll_read(cx, &mut buffer)) {
                Err(error) => Some(Err(error)),
                Ok(()) if buffer.filled().is_empty() => None,
                Ok(()) => Some(Ok(Frame::data(Bytes::copy_from_slice(buffer.filled())))),
            },
        )
    }
}
