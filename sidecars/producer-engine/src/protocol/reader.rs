//! Bytes that came from a broker, read with every length checked against what is there.
//!
//! The decoders of the crate `kafka-protocol` make room for as many elements as a length field says, before one of them is
//! read: four bytes of somebody else's protocol would end this process. So what has lists is read here; the tests hold it
//! against what that crate writes.

use uuid::Uuid;

/// It is not what a broker would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What is read, or that it cannot be.
pub type Read<T> = Result<T, Malformed>;

/// The bytes of a message that are still to be read.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// INT8 or BOOLEAN.
    pub fn i8(&mut self) -> Read<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// INT16
    pub fn i16(&mut self) -> Read<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// INT32
    pub fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// INT64
    pub fn i64(&mut self) -> Read<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// UUID
    pub fn uuid(&mut self) -> Read<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    /// UNSIGNED_VARINT
    pub fn uvarint(&mut self) -> Read<u32> {
        let mut number = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let part = u32::from(byte & 0x7f);
            number |= part
                .checked_shl(shift)
                .filter(|p| p >> shift == part)
                .ok_or(Malformed)?;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// COMPACT_NULLABLE_STRING; what is not UTF-8 is replaced.
    pub fn text(&mut self) -> Read<Option<String>> {
        let Some(bytes) = self.uvarint()?.checked_sub(1) else {
            return Ok(None);
        };
        let bytes = self.bytes(bytes as usize)?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// COMPACT_ARRAY: as many elements as there are bytes at the most. `read` reads one.
    pub fn list(&mut self, mut read: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        let elements = self.uvarint()?.saturating_sub(1);
        if elements as usize > self.0.len() {
            return Err(Malformed);
        }
        for _ in 0..elements {
            read(self)?;
        }
        Ok(())
    }

    /// Tagged fields (KIP-482): `read` gets number and bytes of each.
    pub fn tags(&mut self, mut read: impl FnMut(u32, &mut Reader<'a>) -> Read<()>) -> Read<()> {
        let fields = self.uvarint()?;
        if fields as usize > self.0.len() {
            return Err(Malformed);
        }
        for _ in 0..fields {
            let (tag, bytes) = (self.uvarint()?, self.uvarint()?);
            let mut field = Reader(self.bytes(bytes as usize)?);
            read(tag, &mut field)?;
        }
        Ok(())
    }

    /// Tagged fields that nobody here needs.
    pub fn no_tags(&mut self) -> Read<()> {
        self.tags(|_, _| Ok(()))
    }
}
