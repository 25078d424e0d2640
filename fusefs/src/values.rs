//! Text on one side, numbers on the other: the parsers of the kernel's control files, and the only
//! place where pages become bytes.
//!
//! There are four languages, and users rely on their differences:
//! - sizes (limits): Linux v6.18 lib/cmdline.c `memparse` inside mm/page_counter.c
//!   `page_counter_memparse`; suffixes, wrapping at 2^64, blanks around it allowed;
//! - single numbers (flags, swappiness): lib/kstrtox.c `kstrtoull`; no blanks, one final newline;
//! - task ids: `kstrtoint` on the stripped text;
//! - event registrations: `simple_strtoul` twice, decimal, exactly one space between.

use memcg::{Pages, Tid};

/// Bytes in a page.
pub(crate) const PAGE_SIZE: u64 = 4096;

/// Longest text one write may carry; Linux v6.18 kernel/cgroup/cgroup.c `max_write_len`.
pub(crate) const WRITE_MAX: usize = 4096;

/// Why a text is not the number that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// Not a number of this language.
    Malformed,
    /// A number, but one that does not fit.
    TooLarge,
}

/// A line of `cgroup.event_control`: two descriptors of the writer and the rest of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registration<'a> {
    /// Descriptor of the eventfd to signal.
    pub(crate) event_fd: u32,
    /// Descriptor of the control file to watch.
    pub(crate) target_fd: u32,
    /// What to wait for; may be empty.
    pub(crate) args: &'a str,
}

/// Returns the part of a written buffer that the kernel looks at: all before the first NUL.
///
/// # Errors
/// When it is not text; no control file takes such a value.
pub(crate) fn written_text(data: &[u8]) -> Result<&str, ParseError> {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    std::str::from_utf8(&data[..end]).map_err(|_not_text| ParseError::Malformed)
}

/// Strips what the kernel's `strstrip` strips.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}')
}

/// Number of bytes in `pages`; saturates far above every limit.
pub(crate) const fn bytes(pages: Pages) -> u64 {
    pages.get().saturating_mul(PAGE_SIZE)
}

/// Parses a size, rounding down to whole pages; "-1" and everything too large is unlimited.
///
/// # Errors
/// When anything follows the number and its one suffix.
pub(crate) fn parse_size(text: &str) -> Result<Pages, ParseError> {
    let text = strip(text);
    if text == "-1" {
        return Ok(Pages::UNLIMITED);
    }
    let (number, rest) = leading_number(text);
    let (shift, rest) = match rest.bytes().next().map(|suffix| suffix.to_ascii_lowercase()) {
        Some(b'k') => (10, &rest[1..]),
        Some(b'm') => (20, &rest[1..]),
        Some(b'g') => (30, &rest[1..]),
        Some(b't') => (40, &rest[1..]),
        Some(b'p') => (50, &rest[1..]),
        Some(b'e') => (60, &rest[1..]),
        _ => (0, rest),
    };
    if !rest.is_empty() {
        return Err(ParseError::Malformed);
    }
    let pages = (number.value << shift) / PAGE_SIZE;
    Ok(Pages::new(pages.min(Pages::UNLIMITED.get())))
}

/// Parses an unsigned number, with base prefix, an optional plus and an optional final newline.
///
/// # Errors
/// Malformed for everything else, blanks included; too large from 2^64 on.
pub(crate) fn parse_number(text: &str) -> Result<u64, ParseError> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (number, rest) = leading_number(text);
    if number.digits == 0 {
        return Err(ParseError::Malformed);
    }
    if number.has_wrapped {
        return Err(ParseError::TooLarge);
    }
    if rest.is_empty() || rest == "\n" { Ok(number.value) } else { Err(ParseError::Malformed) }
}

/// Parses a task id. Zero is accepted here: it means the writer.
///
/// # Errors
/// Malformed for everything that is not a number from 0 to 2^31-1.
pub(crate) fn parse_tid(text: &str) -> Result<Tid, ParseError> {
    let number = parse_number(strip(text)).map_err(|_any| ParseError::Malformed)?;
    let id = i32::try_from(number).map_err(|_too_large| ParseError::Malformed)?;
    Ok(Tid::new(id.unsigned_abs()))
}

/// Takes a line of `cgroup.event_control` apart.
///
/// # Errors
/// When it does not begin with two decimal numbers with one space between them.
pub(crate) fn parse_registration(text: &str) -> Result<Registration<'_>, ParseError> {
    let (event_fd, rest) = decimal(strip(text));
    let rest = rest.strip_prefix(' ').ok_or(ParseError::Malformed)?;
    let (target_fd, rest) = decimal(rest);
    let args = match rest.strip_prefix(' ') {
        Some(args) => args,
        None if rest.is_empty() => "",
        None => return Err(ParseError::Malformed),
    };
    Ok(Registration { event_fd, target_fd, args })
}

/// A number at the beginning of a text.
struct Leading {
    value: u64,
    digits: usize,
    has_wrapped: bool,
}

/// Splits off the number at the beginning, its base told by its prefix: 0x, 0 or none. A text
/// without one yields zero and is left whole.
fn leading_number(text: &str) -> (Leading, &str) {
    let bytes = text.as_bytes();
    let is_hex = bytes.len() > 2
        && bytes[0] == b'0'
        && bytes[1].eq_ignore_ascii_case(&b'x')
        && bytes[2].is_ascii_hexdigit();
    if is_hex {
        return digits(&text[2..], 16);
    }
    digits(text, if bytes.first() == Some(&b'0') { 8 } else { 10 })
}

/// Splits off the leading digits of `base`, wrapping at 2^64.
fn digits(text: &str, base: u32) -> (Leading, &str) {
    let mut number = Leading { value: 0, digits: 0, has_wrapped: false };
    for digit in text.chars().map_while(|c| c.to_digit(base)) {
        let (shifted, high) = number.value.overflowing_mul(u64::from(base));
        let (sum, carry) = shifted.overflowing_add(u64::from(digit));
        number.value = sum;
        number.has_wrapped |= high || carry;
        number.digits += 1;
    }
    let rest = &text[number.digits..];
    (number, rest)
}

/// Splits off a descriptor number, which the kernel cuts to 32 bits.
fn decimal(text: &str) -> (u32, &str) {
    let (number, rest) = digits(text, 10);
    let low = u32::try_from(number.value & u64::from(u32::MAX)).expect("masked to 32 bits");
    (low, rest)
}

#[cfg(test)]
mod tests {
    use memcg::{Pages, Tid};

    use super::{
        ParseError, Registration, bytes, parse_number, parse_registration, parse_size, parse_tid,
        written_text,
    };

    #[test]
    fn sizes_take_one_suffix_and_round_down_to_pages() {
        for (text, expected) in [
            ("4095", 0),
            ("4097", 4096),
            ("4K", 4096),
            ("3m", 3 << 20),
            ("1E", 1 << 60),
            ("0x1000", 4096),
            ("010", 0),
            (" 8192 \n", 8192),
            ("\n", 0),
            ("", 0),
        ] {
            assert_eq!(parse_size(text).map(bytes), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn sizes_wrap_at_two_to_the_64_as_in_the_kernel() {
        assert_eq!(parse_size("18446744073709551616"), Ok(Pages::ZERO));
        assert_eq!(parse_size("16E"), Ok(Pages::ZERO));
        assert_eq!(parse_size("99999999999999999999999").map(bytes), Ok(200_376_420_520_685_568));
    }

    #[test]
    fn minus_one_and_everything_huge_is_unlimited() {
        for text in ["-1", "-1\n", "8E", "9223372036854775808", "18446744073709551615"] {
            assert_eq!(parse_size(text), Ok(Pages::UNLIMITED), "{text:?}");
        }
        assert_eq!(bytes(Pages::UNLIMITED), 9_223_372_036_854_771_712);
    }

    #[test]
    fn sizes_with_anything_after_the_suffix_are_refused() {
        for text in ["4kB", "-2", "-1K", "+5", "08", "5.0", "1e3", "5 6", "abc", "4096K4096"] {
            assert_eq!(parse_size(text), Err(ParseError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn numbers_take_a_plus_and_one_newline_but_no_blanks() {
        assert_eq!(parse_number("5"), Ok(5));
        assert_eq!(parse_number("+5"), Ok(5));
        assert_eq!(parse_number("5\n"), Ok(5));
        assert_eq!(parse_number("0X10"), Ok(16));
        assert_eq!(parse_number("010"), Ok(8));
        for text in ["", "\n", " 5", "5 ", "5\n\n", "08", "0x", "-1", "1K", "+"] {
            assert_eq!(parse_number(text), Err(ParseError::Malformed), "{text:?}");
        }
        assert_eq!(parse_number("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_number("18446744073709551616"), Err(ParseError::TooLarge));
    }

    #[test]
    fn task_ids_may_have_blanks_around_them_and_end_at_two_to_the_31() {
        assert_eq!(parse_tid(" 42 \n"), Ok(Tid::new(42)));
        assert_eq!(parse_tid("2147483647"), Ok(Tid::new(2_147_483_647)));
        for text in ["2147483648", "-1", "1 2", "1\n2\n", "", "0x", "18446744073709551616"] {
            assert_eq!(parse_tid(text), Err(ParseError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn registrations_are_two_decimal_numbers_and_the_rest() {
        let expected = Registration { event_fd: 5, target_fd: 6, args: "1M 2M" };
        assert_eq!(parse_registration("5 6 1M 2M\n"), Ok(expected));
        assert_eq!(parse_registration("5 6"), Ok(Registration { args: "", ..expected }));
        // Two spaces: an empty second number is zero, and the rest is the argument.
        let empty = Registration { event_fd: 5, target_fd: 0, args: "6" };
        assert_eq!(parse_registration("5  6"), Ok(empty));
        for text in ["", "5", "5 ", "5\t6", "x 6", "5 x", "-1 -1", "5 6x", "0x5 6"] {
            assert_eq!(parse_registration(text), Err(ParseError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_nul_ends_what_was_written() {
        assert_eq!(written_text(b"5\x006"), Ok("5"));
        assert_eq!(written_text(b"\x005"), Ok(""));
        assert_eq!(written_text(b"\xff"), Err(ParseError::Malformed));
    }
}
