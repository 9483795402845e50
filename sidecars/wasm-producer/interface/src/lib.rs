//! What the wasm-producer and its module tell each other, as messages of Protocol Buffers in the module's memory.
//!
//! The module exports functions; it imports none. Numbers of connections and slabs are 64 bits, times are nanoseconds since
//! a moment that the host has chosen, and *place* is where bytes lie in the module's memory: the address in the upper 32
//! bits, the length in the lower.
//!
//! | export | parameters | result |
//! |---|---|---|
//! | `version` | | [`VERSION`] |
//! | `input` | bytes | address at which the host writes so many, for the next call that reads them |
//! | `start` | bytes of a [`Start`] | place of the words in which it is refused; length 0: it is not |
//! | `submit` | slab's number, bytes of the slab, time | |
//! | `opened` | connection, time | |
//! | `received` | connection, bytes, time | |
//! | `lost` | connection, bytes of the words why, time | |
//! | `advance` | time | place of a [`Turn`] |
//! | `sent` | connection, how many bytes | place of what is unsent then |
#![forbid(unsafe_code)]

mod convert;
mod messages;

use std::time::Duration;

pub use messages::*;

/// Of this interface; host and module have to agree on it.
pub const VERSION: u32 = 1;

/// Exported names, in the order of the table above.
pub const EXPORTS: [&str; 9] = [
    "version", "input", "start", "submit", "opened", "received", "lost", "advance", "sent",
];

/// Address and length as one number.
#[must_use]
pub fn place(address: u32, bytes: u32) -> u64 {
    u64::from(address) << 32 | u64::from(bytes)
}

/// The reverse of [`place`].
#[must_use]
pub fn address_and_bytes(place: u64) -> (usize, usize) {
    (
        (place >> 32) as usize,
        (place & u64::from(u32::MAX)) as usize,
    )
}

/// As numbers of 64 bits, which last 584 years.
#[must_use]
pub fn nanoseconds(time: &Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_and_a_length() {
        assert_eq!(address_and_bytes(place(7, 9)), (7, 9));
        let end = place(u32::MAX, u32::MAX);
        assert_eq!(
            address_and_bytes(end),
            (u32::MAX as usize, u32::MAX as usize)
        );
    }
}
