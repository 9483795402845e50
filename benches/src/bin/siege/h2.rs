//! Frames of HTTP/2 (RFC 9113) by hand: no library would send these.

/// What every connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS_INITIAL_WINDOW_SIZE: nothing may be sent on a stream.
pub(crate) const INITIAL_WINDOW_0: (u16, u32) = (4, 0);

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// Names of the error codes (RFC 9113, section 7), by number.
const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The preface, our settings, and the acknowledgement of the other side's, which are on their way.
pub(crate) fn begin(with: &[(u16, u32)]) -> Vec<u8> {
    [PREFACE, &settings(with), &frame(4, ACK, 0, &[])].concat()
}

pub(crate) fn settings(with: &[(u16, u32)]) -> Vec<u8> {
    let one = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(4, 0, 0, &with.iter().flat_map(one).collect::<Vec<_>>())
}

pub(crate) fn ping() -> Vec<u8> {
    frame(6, 0, 0, b"aguacero")
}

/// The header of an event, of so many bytes if it says so; its body is to come.
pub(crate) fn post(stream: u32, length: Option<usize>) -> Vec<u8> {
    let mut header = vec![0x83, 0x86]; // POST, http: of the static table (RFC 7541, appendix A)
    header.extend(literal(&[0x04], "/input"));
    header.extend(literal(&[0x01], "siege"));
    header.extend(literal(&[0x0f, 0x10], "application/json"));
    if let Some(bytes) = length {
        header.extend(literal(&[0x0f, 0x0d], &bytes.to_string()));
    }
    frame(1, END_HEADERS, stream, &header)
}

/// A whole request that is told 404.
pub(crate) fn ask(stream: u32) -> Vec<u8> {
    let mut header = vec![0x82, 0x86]; // GET, http
    header.extend(literal(&[0x04], "/nowhere"));
    header.extend(literal(&[0x01], "siege"));
    frame(1, END_HEADERS | END_STREAM, stream, &header)
}

/// The beginning of a header that goes on.
pub(crate) fn headers_without_end(stream: u32) -> Vec<u8> {
    frame(1, 0, stream, &[0x83, 0x86])
}

pub(crate) fn continuation(stream: u32, header: &[u8]) -> Vec<u8> {
    frame(9, 0, stream, header)
}

pub(crate) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(0, 0, stream, bytes)
}

/// Cancelled.
pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub(crate) fn window_update(stream: u32) -> Vec<u8> {
    frame(8, 0, stream, &1_u32.to_be_bytes())
}

pub(crate) fn priority(stream: u32) -> Vec<u8> {
    frame(2, 0, stream, &[0, 0, 0, 0, 16])
}

/// A header field of some 10,000 bytes, another for each n.
pub(crate) fn field(n: usize) -> Vec<u8> {
    let name = format!("x-{n}");
    let mut field = vec![0, name.len() as u8];
    field.extend(name.bytes());
    field.extend([0x7f, 0x91, 0x4d]); // 127 + 0x11 + (0x4d << 7) bytes follow (RFC 7541, section 5.1)
    field.extend([b'y'; 127 + 0x11 + (0x4d << 7)]);
    field
}

/// A field that is not to be remembered, its name by number; values below 127 bytes.
fn literal(name: &[u8], value: &str) -> Vec<u8> {
    [name, &[value.len() as u8], value.as_bytes()].concat()
}

/// The last thing that the frames in `received` say of a fault.
pub(crate) fn told(mut received: &[u8]) -> String {
    let mut told = "h2".to_owned();
    while let Some((head, rest)) = received.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        let code = |at: usize| {
            let code = payload.get(at..at + 4).and_then(|c| c.try_into().ok());
            let code = code.map(u32::from_be_bytes).unwrap_or_default();
            ERRORS
                .get(code as usize)
                .copied()
                .unwrap_or("an unknown code")
        };
        match head[3] {
            GOAWAY => told = format!("GOAWAY {}", code(4)),
            RST_STREAM => told = format!("RST {}", code(0)),
            _ => {}
        }
        received = rest;
    }
    told
}
