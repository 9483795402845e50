//! Whether the target of a request has a `#` (HTTP/1): hyper cuts that off, with what is behind it, and whoever stands in
//! front of us may have taken it for a part of the path.
//!
//! A request that comes in one read with the end of the one before is not looked at: where it begins, only hyper knows.

/// The target of the request that is being read, as far as its first line has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestTarget {
    /// So many bytes of [`METHOD`] have come, and nothing else.
    Method(usize),
    /// Part of the target has come.
    Begun,
    /// It has a `#`.
    HasFragment,
    /// It has none, or is not that of an event.
    Done,
}

/// Only events are looked at: what else may be asked has no target that matters.
const METHOD: &[u8] = b"POST ";

/// Marks a request whose target has a `#`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment;

impl Default for RequestTarget {
    fn default() -> Self {
        Self::Method(0)
    }
}

impl RequestTarget {
    /// After so many bytes more of the request.
    pub(crate) fn after(self, bytes: &[u8]) -> Self {
        let (known, rest) = match self {
            // Empty lines before a request are ignored (RFC 9112, section 2.2): some clients end a body with one.
            Self::Method(0) if matches!(bytes.first(), Some(b'\r' | b'\n')) => {
                let blank = bytes.iter().take_while(|b| b"\r\n".contains(b)).count();
                return self.after(&bytes[blank..]);
            }
            Self::Method(known) => {
                let missing = &METHOD[known..];
                let (come, rest) = bytes.split_at(missing.len().min(bytes.len()));
                if !missing.starts_with(come) {
                    return Self::Done;
                }
                (known + come.len(), rest)
            }
            Self::Begun => (METHOD.len(), bytes),
            Self::HasFragment | Self::Done => return self,
        };
        if known < METHOD.len() {
            return Self::Method(known);
        }
        match memchr::memchr3(b'#', b' ', b'\n', rest).map(|at| rest[at]) {
            None => Self::Begun,
            Some(b'#') => Self::HasFragment,
            Some(_) => Self::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_seen_however_the_line_comes() {
        for (line, expected) in [
            ("POST /input#a HTTP/1.1\r\n", RequestTarget::HasFragment),
            ("POST http://x/#", RequestTarget::HasFragment),
            ("\r\n\nPOST /#", RequestTarget::HasFragment),
            ("\r\n", RequestTarget::Method(0)),
            (
                "POST /input HTTP/1.1\r\nreferer: /#\r\n\r\n{\"#\":1}",
                RequestTarget::Done,
            ),
            ("POST /input\n#", RequestTarget::Done),
            ("POSTS /#", RequestTarget::Done),
            ("{\"a\": \"#\"}", RequestTarget::Done),
            ("POST /inp", RequestTarget::Begun),
            ("POS", RequestTarget::Method(3)),
        ] {
            let whole = RequestTarget::default().after(line.as_bytes());
            let bytes = line.as_bytes().chunks(1);
            let each = bytes.fold(RequestTarget::default(), RequestTarget::after);
            assert_eq!((whole, each), (expected, expected), "{line}");
        }
    }
}
