//! The codecs of record batches.

use std::io::{self, Write as _};

/// `compression.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// One block without frames, as librdkafka writes it.
    Snappy,
    /// Frames of independent blocks, with their checksums.
    Lz4,
    /// RFC 8878.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// The default of librdkafka and of Java's client.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;

impl Compression {
    /// By Kafka's name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            #[cfg(feature = "zstd")]
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// As Kafka calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            #[cfg(feature = "zstd")]
            Self::Zstd => "zstd",
        }
    }

    /// The lowest bits of a batch's attributes.
    pub(crate) fn attributes(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            #[cfg(feature = "zstd")]
            Self::Zstd => 4,
        }
    }

    /// `records` compressed; none for [`Compression::None`].
    pub(crate) fn compress(self, records: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let compressed = match self {
            Self::None => return Ok(None),
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(records)?;
                encoder.finish()?
            }
            Self::Snappy => snap::raw::Encoder::new().compress_vec(records)?,
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(records)?;
                encoder.finish().map_err(io::Error::other)?
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::bulk::compress(records, ZSTD_LEVEL)?,
        };
        Ok(Some(compressed))
    }
}
