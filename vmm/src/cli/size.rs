//! Sizes as people type them: `512M`.

use std::fmt;
use std::str::FromStr;

use memcg::Pages;
use vmcg_abi::layout::PAGE_SIZE;

/// A number of bytes and how it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    bytes: u64,
    text: String,
}

/// What is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSize {
    /// It is not written as one.
    #[error("a size is a number of bytes, or a number followed by K, M, G or T")]
    Syntax,
    /// It does not fit 64 bits.
    #[error("more bytes than a computer can have")]
    TooLarge,
}

impl Size {
    /// The number of bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of whole pages in it.
    pub(super) fn pages(&self) -> Pages {
        Pages::new(self.bytes / PAGE_SIZE)
    }
}

/// Pages as text for people, in KiB: `1048576K`.
pub(super) fn kib(pages: u64) -> String {
    format!("{}K", pages.saturating_mul(PAGE_SIZE >> 10))
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match &text[digits.len()..] {
            "" => 0,
            "k" | "K" => 10,
            "m" | "M" => 20,
            "g" | "G" => 30,
            "t" | "T" => 40,
            _ => return Err(BadSize::Syntax),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadSize::Syntax);
        }
        let number: u64 = digits.parse().map_err(|_| BadSize::TooLarge)?;
        let bytes = number.checked_mul(1 << shift).ok_or(BadSize::TooLarge)?;
        Ok(Self { bytes, text: text.to_owned() })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_digits_and_one_letter() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("3k", 3 << 10), ("16T", 16 << 40)] {
            assert_eq!(text.parse::<Size>().map(|size| size.bytes()), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "+1", "1.5G", "1KB", "1 K", "0x10", "1é"] {
            assert_eq!(bad.parse::<Size>(), Err(BadSize::Syntax), "{bad}");
        }
        for large in ["18446744073709551616", "17179869184G"] {
            assert_eq!(large.parse::<Size>(), Err(BadSize::TooLarge), "{large}");
        }
    }
}
