//! The values that conditions, keys and counters compare: one notion of equality and one text for
//! the JSON that the gateway reads, the TOML that declares, and the BSON that the consumer reads back.

use std::borrow::Cow;

use crate::id::IdType;

/// A JSON value that is neither null nor a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// Text.
    Str(Cow<'a, str>),
    /// `true` or `false`.
    Bool(bool),
    /// A number written without fraction or exponent.
    Int(i64),
    /// The same, beyond 64 bits with a sign.
    Large(LargeInt),
    /// Any other number.
    Float(f64),
}

impl<'a> Scalar<'a> {
    /// Its type, where it is an event's id.
    #[must_use]
    pub fn id_type(&self) -> IdType {
        match self {
            Self::Str(_) => IdType::String,
            Self::Int(_) | Self::Large(_) => IdType::Integer,
            Self::Float(_) => IdType::Number,
            Self::Bool(_) => IdType::Boolean,
        }
    }

    /// [`Scalar::text`] of a value that is no longer needed.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Str(s) => s,
            other => Cow::Owned(other.text().into_owned()),
        }
    }

    /// The text under which the value is a key: of a Kafka record, of a counter, of an event id.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(s) => Cow::Borrowed(s),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(i) => Cow::Owned(i.to_string()),
            Self::Large(n) => Cow::Owned(n.get().to_string()),
            Self::Float(f) => Cow::Owned(f.to_string()),
        }
    }
}

/// An integer of at most 34 digits that does not fit 64 bits with a sign. The archive holds it as a Decimal128.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LargeInt([u8; 16]);

/// Digits of the longest one: those of a Decimal128.
const DIGITS_MAX: usize = 34;
/// Digits of the shortest one.
const DIGITS_MIN: usize = 19;
/// A Decimal128's bits above the digits: of a number without fraction or exponent. (IEEE 754, binary integer decimal.)
const EXPONENT: u128 = 6176 << DIGIT_BITS;
const DIGIT_BITS: u32 = 113;
const SIGN: u128 = 1 << 127;

impl LargeInt {
    /// From JSON; none if it is another number, or none.
    #[must_use]
    pub fn read(number: &[u8]) -> Option<Self> {
        let digits = number.strip_prefix(b"-").unwrap_or(number);
        if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) || digits[0] == b'0' {
            return None;
        }
        let digit = |n: i128, b: &u8| b.is_ascii_digit().then(|| 10 * n + i128::from(b - b'0'));
        let size = digits.iter().try_fold(0, digit)?;
        let n = if digits.len() < number.len() {
            -size
        } else {
            size
        };
        i64::try_from(n).is_err().then_some(Self(n.to_le_bytes()))
    }

    /// Its value.
    #[must_use]
    pub fn get(self) -> i128 {
        i128::from_le_bytes(self.0)
    }

    /// The bytes of a Decimal128, as BSON has them.
    #[must_use]
    pub fn to_decimal128(self) -> [u8; 16] {
        let n = self.get();
        let sign = if n < 0 { SIGN } else { 0 };
        (sign | EXPONENT | n.unsigned_abs()).to_le_bytes()
    }

    /// The reverse of [`LargeInt::to_decimal128`]; none for what has a fraction or an exponent, or is no number.
    #[must_use]
    pub fn from_decimal128(bytes: [u8; 16]) -> Option<Self> {
        let bits = u128::from_le_bytes(bytes);
        let size = bits & ((1 << DIGIT_BITS) - 1);
        let n = if bits & SIGN == 0 {
            size.cast_signed()
        } else {
            -size.cast_signed()
        };
        (bits & !SIGN == EXPONENT | size).then_some(Self(n.to_le_bytes()))
    }
}

impl std::fmt::Debug for LargeInt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.get())
    }
}

#[cfg(test)]
mod tests {
    use bson::Decimal128;
    use proptest::prelude::*;

    use super::*;
    use crate::id::EventId;

    #[test]
    fn an_integer_is_large_from_the_first_beyond_64_bits_to_the_last_of_34_digits() {
        let read = |text: &str| LargeInt::read(text.as_bytes()).map(|n| n.get().to_string());
        let nines = "9".repeat(34);
        for large in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            &nines,
            &format!("-{nines}"),
        ] {
            assert_eq!(read(large).as_deref(), Some(large));
        }
        let longer = format!("1{}", "0".repeat(34));
        for other in [
            "9223372036854775807",
            "-9223372036854775808",
            &longer,
            "09223372036854775808",
            "--9223372036854775809",
            "+9223372036854775808",
            "9223372036854775808.0",
            "9223372036854775808e1",
            "",
            "-",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_value_of_an_id_field_is_another_id_than_one_of_another_type_or_a_key() {
        let values = [
            Scalar::Str("77".into()),
            Scalar::Int(77),
            Scalar::Float(77.0),
            Scalar::Str("true".into()),
            Scalar::Bool(true),
        ];
        let mut ids = Vec::new();
        for value in &values {
            let text = value.text();
            let text = text.as_bytes();
            ids.push(EventId::of_id_field("s", "o", value.id_type(), text));
            ids.push(EventId::of_client_key("s", "o", text, 0));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), values.len() + 2, "and the keys 77 and true");
    }

    #[test]
    fn a_value_that_is_seldom_large_takes_no_more_room() {
        assert_eq!(size_of::<Scalar<'_>>(), size_of::<Cow<'_, str>>());
    }

    proptest! {
        #[test]
        fn a_large_integer_is_the_decimal_that_it_is_called(text in "-?[1-9][0-9]{19,33}") {
            let large = LargeInt::read(text.as_bytes()).unwrap();
            let decimal = Decimal128::from_bytes(large.to_decimal128());
            prop_assert_eq!(decimal.to_string(), &*text);
            prop_assert_eq!(text.parse::<Decimal128>().unwrap(), decimal);
            prop_assert_eq!(LargeInt::from_decimal128(decimal.bytes()), Some(large));
            prop_assert_eq!(Scalar::Large(large).into_text(), &*text);
        }

        #[test]
        fn any_other_decimal_is_none(text in "-?[1-9][0-9]{0,20}[.][0-9]{1,10}|[1-9]E[+-][1-9]{1,2}|NaN|Infinity") {
            let decimal: Decimal128 = text.parse().unwrap();
            prop_assert_eq!(LargeInt::from_decimal128(decimal.bytes()), None);
        }
    }
}
