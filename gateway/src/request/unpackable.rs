//! Why a packed body cannot be expanded, in words that help: mostly it is packed in another way than it says.

use std::{
    borrow::Cow,
    io::{self, Read as _},
};

use crate::request::expand::Coding;

/// What files of a format begin with.
const FORMATS: [(&[u8], &str); 15] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x78\x01", "deflate (zlib)"),
    (b"\x78\x5e", "deflate (zlib)"),
    (b"\x78\x9c", "deflate (zlib)"),
    (b"\x78\xda", "deflate (zlib)"),
    (b"BZh", "bzip2, which is not taken"),
    (b"\xfd7zXZ\0", "xz, which is not taken"),
    (b"\x5d\0\0", "LZMA, which is not taken"),
    (b"\x1f\x9d", "compress, which is not taken"),
    (b"\x1f\xa0", "compress, which is not taken"),
    (b"\x04\x22\x4d\x18", "LZ4, which is not taken"),
    (b"\xff\x06\0\0sNaPpY", "snappy, which is not taken"),
    (b"PK\x03\x04", "ZIP, which is not taken"),
    (b"PAR1", "Parquet, which is not taken"),
];

/// Why `packed` is not what `coding` says, of which the decoder says `error`.
pub(crate) fn why<'a>(coding: Coding, packed: &[u8], error: &'a io::Error) -> Cow<'a, str> {
    let message = error.to_string();
    if coding == Coding::Zstd && message.contains("too much memory") {
        return "its window is larger than 8 MiB, and no decoder has to take that (RFC 8878, section 3.1.1.1.2): pack it with \
                a smaller one, without --long and --ultra"
            .into();
    }
    if coding == Coding::Brotli && packed.first().is_some_and(|first| first & 0x7f == 0x11) {
        return "it has a large window, which is no part of RFC 7932: pack it with one of at most 24 bits".into();
    }
    let named = FORMATS.iter().find(|(magic, _)| packed.starts_with(magic));
    if let Some((_, format)) = named.filter(|(_, format)| !format.starts_with(coding.name())) {
        return format!("it looks like {format}").into();
    }
    if matches!(packed.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return "it looks like JSON that is not packed at all: leave Content-Encoding out".into();
    }
    if coding == Coding::Deflate && is_raw_deflate(packed) {
        return "it looks like deflate without zlib's header (RFC 1951): send zlib's format (RFC 1950), as RFC 9110 has it"
            .into();
    }
    message.into()
}

/// Whether its first bytes can be expanded so.
fn is_raw_deflate(packed: &[u8]) -> bool {
    let mut first = [0; 64];
    let mut decoder = flate2::bufread::DeflateDecoder::new(packed);
    decoder.read(&mut first).is_ok_and(|bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write};

    use super::*;

    const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Brotli];

    fn explained(coding: Coding, packed: &[u8]) -> String {
        why(coding, packed, &io::Error::other("the decoder's own words")).into_owned()
    }

    #[test]
    fn another_format_than_it_says_is_named() {
        for coding in CODINGS {
            for (magic, format) in FORMATS {
                let expected = match format.starts_with(coding.name()) {
                    true => "the decoder's own words",
                    false => format,
                };
                let told = explained(coding, &[magic, b"and so on"].concat());
                assert!(told.contains(expected), "{coding:?}, {format}: {told}");
            }
            assert!(explained(coding, b" {\"a\":1}").contains("not packed at all"));
        }
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(b"some text, some text, some text").unwrap();
        let raw = raw.finish().unwrap();
        assert!(explained(Coding::Deflate, &raw).contains("RFC 1951"));
    }

    #[test]
    fn a_window_that_is_too_large_is_named() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"some text").unwrap();
        let long = encoder.finish().unwrap();
        let mut decoder = zstd::Decoder::new(&long[..]).unwrap();
        decoder.window_log_max(23).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(
            why(Coding::Zstd, &long, &error).contains("8 MiB"),
            "{error}"
        );
        assert!(explained(Coding::Brotli, &[0x11, 0x1e, 0]).contains("large window"));
    }
}
