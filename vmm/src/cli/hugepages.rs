//! Huge pages as people ask for them: `8`, `8:2M`, `8,1G:1`.

use std::str::FromStr;

use vmm::huge::HugePages;

/// How many huge pages of each size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HugePageList(HugePages);

/// What is no list of huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a list of huge pages is COUNT, COUNT:SIZE or SIZE:COUNT, with commas between; sizes are 2M and 1G, each once"
)]
pub(super) struct BadList;

impl HugePageList {
    /// The pages.
    pub(super) const fn pages(self) -> HugePages {
        self.0
    }
}

impl FromStr for HugePageList {
    type Err = BadList;

    fn from_str(text: &str) -> Result<Self, BadList> {
        let (mut mb2, mut gb1) = (None, None);
        for part in text.split(',') {
            let (one, other) = part.split_once(':').unwrap_or((part, "2M"));
            let is_size = |word: &str| word.ends_with(['M', 'm', 'G', 'g']);
            let (count, size) = if is_size(one) { (other, one) } else { (one, other) };
            let place = match size {
                "2M" | "2m" => &mut mb2,
                "1G" | "1g" => &mut gb1,
                _ => return Err(BadList),
            };
            let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            let count = count.parse().ok().filter(|_| is_number).ok_or(BadList)?;
            if place.replace(count).is_some() {
                return Err(BadList);
            }
        }
        Ok(Self(HugePages { mb2: mb2.unwrap_or(0), gb1: gb1.unwrap_or(0) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_come_in_any_order() {
        for (text, mb2, gb1) in
            [("8", 8, 0), ("8:2M", 8, 0), ("2M:8", 8, 0), ("8,1G:1", 8, 1), ("2:1g,3", 3, 2)]
        {
            assert_eq!(text.parse(), Ok(HugePageList(HugePages { mb2, gb1 })), "{text}");
        }
        for bad in ["", "x", "-1", "+1", "8:4M", "8:", ":2M", "8,8", "1G", "8,,1G:1", "2M:1G"] {
            assert_eq!(bad.parse::<HugePageList>(), Err(BadList), "{bad}");
        }
    }
}
