//! Chance that can be had again: numbers from a seed.

/// A stream of numbers from a seed (xorshift64*).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Numbers(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    /// Any of these, of which there must be one.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// The bytes in as many pieces as chance will have, of which there are `most` at most.
    pub fn cut(&mut self, mut bytes: Vec<u8>, most: usize) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        for _ in 0..self.below(most) {
            let behind = bytes.split_off(self.below(bytes.len()));
            pieces.push(std::mem::replace(&mut bytes, behind));
        }
        pieces.push(bytes);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}
