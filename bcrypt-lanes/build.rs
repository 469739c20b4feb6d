//! Computes Blowfish's initial tables: they are the first binary digits of pi behind the point.
//!
//! Machin's formula, pi = 16 arccot 5 - 4 arccot 239, in fixed-point numbers. It takes a fraction of a second, and spares
//! a thousand numbers that nobody can check by looking at them.

use std::fmt::Write;
use std::path::PathBuf;

/// A number from zero on: the words of its binary digits. The first word stands before the point.
type Number = Vec<u32>;

/// The subkeys of Blowfish.
const SUBKEYS: usize = 18;
/// The substitution boxes, and the words in each.
const BOXES: usize = 4;
const BOX_WORDS: usize = 256;
/// What Blowfish wants of pi, in words.
const FRACTION_WORDS: usize = SUBKEYS + BOXES * BOX_WORDS;
/// More words, whose digits may be wrong: each of some ten thousand divisions cuts off less than one in the last place.
const GUARD_WORDS: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let pi = pi();
    let (subkeys, boxes) = pi[1..=FRACTION_WORDS].split_at(SUBKEYS);
    let mut text = format!("const SUBKEYS: [u32; {SUBKEYS}] = {subkeys:?};\n");
    writeln!(text, "const BOXES: [[u32; {BOX_WORDS}]; {BOXES}] = [")?;
    for words in boxes.chunks(BOX_WORDS) {
        writeln!(text, "    {words:?},")?;
    }
    text.push_str("];\n");
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo names no folder for what is built")?;
    std::fs::write(PathBuf::from(folder).join("tables.rs"), text)?;
    Ok(())
}

fn pi() -> Number {
    let mut pi = arccot(16, 5);
    subtract(&mut pi, &arccot(4, 239));
    pi
}

/// `factor` times the angle whose cotangent is `x`: factor (1/x - 1/3x³ + 1/5x⁵ - …).
fn arccot(factor: u32, x: u32) -> Number {
    let mut power = vec![0; 1 + FRACTION_WORDS + GUARD_WORDS];
    power[0] = factor;
    divide(&mut power, x);
    let mut sum = power.clone();
    let mut odd = 1;
    loop {
        divide(&mut power, x * x);
        odd += 2;
        let mut term = power.clone();
        divide(&mut term, odd);
        if term.iter().all(|word| *word == 0) {
            return sum;
        }
        if odd % 4 == 3 { subtract(&mut sum, &term) } else { add(&mut sum, &term) }
    }
}

fn divide(number: &mut Number, divisor: u32) {
    let first = number.iter().position(|word| *word != 0).unwrap_or(number.len());
    let mut rest = 0;
    for word in &mut number[first..] {
        let dividend = (rest << 32) | u64::from(*word);
        // The rest is less than the divisor, so the quotient fits into a word.
        *word = (dividend / u64::from(divisor)) as u32;
        rest = dividend % u64::from(divisor);
    }
}

fn add(number: &mut Number, other: &Number) {
    let mut carry = false;
    for (word, other) in number.iter_mut().zip(other).rev() {
        let (sum, over) = word.overflowing_add(*other);
        let (sum, over_again) = sum.overflowing_add(u32::from(carry));
        (*word, carry) = (sum, over || over_again);
    }
}

fn subtract(number: &mut Number, other: &Number) {
    let mut borrow = false;
    for (word, other) in number.iter_mut().zip(other).rev() {
        let (difference, under) = word.overflowing_sub(*other);
        let (difference, under_again) = difference.overflowing_sub(u32::from(borrow));
        (*word, borrow) = (difference, under || under_again);
    }
}
