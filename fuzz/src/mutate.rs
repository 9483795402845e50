//! Inputs made from others: flipped, cut, repeated, spliced, and with words of the dictionary in them.

/// Bytes of an input that is made here.
const INPUT_MAX: usize = 16 << 10;
/// Changes of one input.
const CHANGES_MAX: usize = 6;
/// Numbers that readers get wrong.
const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "-1",
    "1e400",
    "1.7976931348623157e308",
    "5e-324",
    "127",
    "65536",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
];

/// Dice that fall the same way every time (SplitMix64, Steele et al. 2014).
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `sides`; 0 if there are none.
    pub fn below(&mut self, sides: usize) -> usize {
        (self.next() % sides.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    fn part(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let longest = input.len() - start;
        // Short parts are more often of use than long ones.
        let len = match self.below(4) {
            0 => self.below(longest + 1),
            _ => self.below(longest.min(8) + 1),
        };
        start..start + len
    }
}

/// An input made from one of `corpus`.
#[must_use]
pub fn mutated(corpus: &[Vec<u8>], words: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = dice.one_of(corpus).cloned().unwrap_or_default();
    for _ in 0..=dice.below(CHANGES_MAX) {
        change(&mut input, corpus, words, dice);
    }
    input.truncate(INPUT_MAX);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[Vec<u8>], dice: &mut Dice) {
    let part = dice.part(input);
    let at = part.start;
    match dice.below(9) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = dice.next() as u8;
            }
        }
        2 => drop(input.drain(part)),
        3 => {
            let copy = input[part].to_vec();
            let to = dice.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        4 => {
            let times = 1 + dice.below(100);
            let copy = input[part].repeat(times);
            input.splice(at..at, copy);
        }
        5 => {
            let other = dice.one_of(corpus).map_or(&[][..], Vec::as_slice);
            let of_other = dice.part(other);
            input.splice(part, other[of_other].iter().copied());
        }
        6 => {
            let digits = input[at..]
                .iter()
                .position(u8::is_ascii_digit)
                .map(|i| at + i);
            let start = digits.unwrap_or(at);
            let len = input[start..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            let number = dice.one_of(&NUMBERS).copied().unwrap_or_default();
            input.splice(start..start + len, number.bytes());
        }
        7 => {
            let word = dice.one_of(words).cloned().unwrap_or_default();
            input.splice(part, word);
        }
        _ => {
            let word = dice.one_of(words).cloned().unwrap_or_default();
            input.splice(at..at, word);
        }
    }
}
