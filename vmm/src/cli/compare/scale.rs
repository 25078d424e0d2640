//! Scaling the sizes of a scenario, in whole numbers.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use vmcg_abi::layout::PAGE_SIZE;

use crate::cli::size::{BadSize, Size};

/// A factor for every size: a whole number, or one part of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Scale {
    times: NonZeroU64,
    parts: NonZeroU64,
}

/// What is no scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scale is a number such as 2, or a fraction such as 1/8")]
pub(in crate::cli) struct BadScale;

/// Why a size of a scenario cannot be scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum BadAmount {
    #[error(transparent)]
    Size(#[from] BadSize),
    #[error("more bytes than a computer can have at this scale")]
    TooLarge,
}

impl Default for Scale {
    fn default() -> Self {
        Self { times: NonZeroU64::MIN, parts: NonZeroU64::MIN }
    }
}

impl FromStr for Scale {
    type Err = BadScale;

    fn from_str(text: &str) -> Result<Self, BadScale> {
        let (times, parts) = text.split_once('/').unwrap_or((text, "1"));
        let number = |text: &str| text.parse().map_err(|_| BadScale);
        Ok(Self { times: number(times)?, parts: number(parts)? })
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts {
            NonZeroU64::MIN => write!(f, "{}", self.times),
            parts => write!(f, "{}/{parts}", self.times),
        }
    }
}

impl Scale {
    /// Scales a size; the result is in bytes and whole pages.
    ///
    /// # Errors
    /// When it is no size, or too large.
    pub(super) fn size(self, text: &str) -> Result<u64, BadAmount> {
        let bytes = u128::from(text.parse::<Size>()?.bytes());
        let scaled = bytes * u128::from(self.times.get()) / u128::from(self.parts.get());
        let scaled = u64::try_from(scaled).map_err(|_| BadAmount::TooLarge)?;
        Ok(scaled - scaled % PAGE_SIZE)
    }

    /// Scales a word of a command: `{SIZE}` becomes a number of bytes, everything else stays.
    ///
    /// # Errors
    /// As [`Self::size`].
    pub(super) fn word(self, word: &str) -> Result<String, BadAmount> {
        let size = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        size.map_or(Ok(word.to_owned()), |size| self.size(size).map(|bytes| bytes.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_scaled_to_whole_pages() {
        let eighth: Scale = "1/8".parse().unwrap();
        assert_eq!(eighth.size("1G"), Ok(128 << 20));
        assert_eq!(eighth.size("20K"), Ok(0));
        assert_eq!(eighth.word("{800M}").unwrap(), (100 << 20).to_string());
        assert_eq!(eighth.word("800M").unwrap(), "800M");
        assert_eq!("2".parse::<Scale>().unwrap().size("3M"), Ok(6 << 20));
        assert_eq!((eighth.to_string(), Scale::default().to_string()), ("1/8".into(), "1".into()));
        assert_eq!("9999999999".parse::<Scale>().unwrap().size("9T"), Err(BadAmount::TooLarge));
    }

    #[test]
    fn what_is_no_scale_is_refused() {
        for bad in ["", "0", "1/0", "-1", "x", "1/", "/2", "0.5"] {
            assert_eq!(bad.parse::<Scale>(), Err(BadScale), "{bad}");
        }
    }
}
