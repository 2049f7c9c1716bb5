//! What must hold for any bytes between a client and process 1; as `properties.rs`.

use acode_rt::protocol::order::{Order, OrderError, Orders};
use acode_rt::protocol::record::{Cause, End, How, Nonce, RECORD_LEN, Record, Strip, Use};

/// `[7 chunk lengths.., stream..]`: any chunking gives the same orders and the same error, and orders print as they are read.
pub(crate) fn orders(data: &[u8]) {
    let (lengths, stream) = data.split_at(data.len().min(7));
    let whole = decode(&[stream]);
    assert_eq!(whole, decode(&chunks(stream, lengths)));
    assert_eq!(whole, decode(&stream.chunks(1).collect::<Vec<_>>()));
    let mut printed = Vec::new();
    for order in &whole.0 {
        order.write(&mut printed);
    }
    let (again, error) = decode(&[&printed]);
    // Input that is empty is no order when it is printed.
    let kept = whole
        .0
        .into_iter()
        .filter(|order| *order != Order::Input(Vec::new()));
    assert_eq!((again, error), (kept.collect(), None));
}

fn decode(pieces: &[&[u8]]) -> (Vec<Order>, Option<OrderError>) {
    let (mut orders, mut found) = (Orders::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            match orders.decode(piece) {
                Ok((taken, order)) => {
                    assert!(taken > 0 && taken <= piece.len());
                    piece = &piece[taken..];
                    found.extend(order);
                }
                Err(error) => {
                    assert_eq!(orders.decode(b"d\0\0\0\0"), Err(error));
                    return (found, Some(error));
                }
            }
        }
    }
    (found, None)
}

/// `[7 chunk lengths.., stream..]`, where a byte below 7 (or 8) stands for a record, 7 with the next one for so much of a record's beginning, and
/// any other for itself: any chunking leaves the same output and finds the same records, those that are there and no others.
pub(crate) fn records(data: &[u8]) {
    let nonce = Nonce::of("fuzz");
    let (lengths, script) = data.split_at(data.len().min(7));
    let mut stream = Vec::new();
    let mut script = script.iter().copied();
    while let Some(byte) = script.next() {
        match byte {
            0..=6 | 8 => stream.extend(record(byte).to_bytes(&nonce)),
            7 => {
                let length = usize::from(script.next().unwrap_or(0)) % RECORD_LEN;
                stream.extend(&record(0).to_bytes(&nonce)[..length]);
            }
            _ => stream.push(byte),
        }
    }
    let expected = reference(&stream, &nonce);
    assert_eq!(strip(&[&stream], nonce), expected);
    assert_eq!(strip(&chunks(&stream, lengths), nonce), expected);
    assert_eq!(
        strip(&stream.chunks(1).collect::<Vec<_>>(), nonce),
        expected
    );
}

fn record(number: u8) -> Record {
    let end = |how, cause| Record::End(End { how, cause });
    match number {
        0 => Record::Credit(0x0123_4567),
        1 => Record::InputClosed,
        2 => Record::OutputEnd,
        3 => end(How::Exited(7), Cause::Itself),
        4 => end(How::Signaled(9), Cause::Deadline),
        5 => end(How::Failed(2), Cause::Order),
        6 => end(How::Exited(0), Cause::Outside),
        _ => Record::Used(Use::MemoryPeak, 0x0123_4567_89ab_cdef),
    }
}

/// With everything at hand: at every place either a record or a byte of output.
fn reference(mut stream: &[u8], nonce: &Nonce) -> (Vec<u8>, Vec<Record>) {
    let (mut output, mut found) = (Vec::new(), Vec::new());
    while let Some((byte, rest)) = stream.split_first() {
        let here = (0..9)
            .map(record)
            .find(|record| stream.starts_with(&record.to_bytes(nonce)));
        // What fuzzing makes up after a nonce may be a record that is none of those.
        let other = here.or_else(|| {
            let mut alone = stream.get(..RECORD_LEN)?.to_vec();
            let mut found = Vec::new();
            Strip::new(*nonce).take(&mut alone, &mut found);
            (alone.is_empty() && found.len() == 1).then(|| found[0])
        });
        if let Some(record) = other {
            found.push(record);
            stream = &stream[RECORD_LEN..];
        } else {
            output.push(*byte);
            stream = rest;
        }
    }
    (output, found)
}

fn strip(pieces: &[&[u8]], nonce: Nonce) -> (Vec<u8>, Vec<Record>) {
    let (mut strip, mut output, mut found) = (Strip::new(nonce), Vec::new(), Vec::new());
    for piece in pieces {
        let mut data = piece.to_vec();
        strip.take(&mut data, &mut found);
        output.extend(data);
    }
    let rest = strip.finish();
    assert!(rest.len() < RECORD_LEN);
    output.extend(rest);
    (output, found)
}

/// Chunks of the given lengths over and over; all at once where they are all 0.
fn chunks<'a>(mut stream: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let before = stream.len();
        for length in lengths {
            let (piece, rest) = stream.split_at(stream.len().min(usize::from(*length)));
            pieces.push(piece);
            stream = rest;
        }
        if stream.len() == before {
            pieces.push(stream);
            break;
        }
    }
    pieces
}
