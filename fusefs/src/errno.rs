//! What the accounting refuses, in the words of errno. No other file of vmcg knows these words.

use fuser::Errno;
use memcg::{Error, MoveError};

use crate::values::ParseError;

/// The result of everything that ends up as an answer to the kernel.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Translates the refusal of a group operation.
pub(crate) fn of_group(error: Error) -> Errno {
    match error {
        Error::Busy | Error::Charged(_) => Errno::EBUSY,
        Error::Root | Error::Invalid => Errno::EINVAL,
        Error::NoMemory(_) => Errno::ENOMEM,
        Error::Exists => Errno::EEXIST,
        Error::NotFound => Errno::ESRCH,
        Error::Dead => Errno::ENODEV,
        Error::NoSpace => Errno::ENOSPC,
    }
}

/// Translates the refusal of a move.
pub(crate) fn of_move(error: MoveError) -> Errno {
    match error {
        MoveError::NoSuchTask => Errno::ESRCH,
        MoveError::NoMemory => Errno::ENOMEM,
        MoveError::DeadGroup => Errno::ENODEV,
        MoveError::Invalid => Errno::EINVAL,
        MoveError::Busy => Errno::EBUSY,
    }
}

/// Translates an unreadable value.
pub(crate) fn of_parse(error: ParseError) -> Errno {
    match error {
        ParseError::Malformed => Errno::EINVAL,
        ParseError::TooLarge => Errno::ERANGE,
    }
}
