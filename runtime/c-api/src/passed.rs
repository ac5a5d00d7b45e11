//! What C hands over: text, bytes, places for results, functions to call. The one file that looks behind a bare pointer.
//!
//! The header demands of callers what the blocks here rest on. NULL is an answer of its own everywhere.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use crate::error::Failure;

/// Text that ends with NUL.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text(*const c_char);

impl Text {
    /// The text, which must be UTF-8; `what` names it in the message.
    pub(crate) fn read(&self, what: &str) -> Result<&str, Failure> {
        if self.0.is_null() {
            return Err(Failure::misuse(format!("{what} is NULL")));
        }
        // SAFETY: not NULL, and the header demands a string that ends with NUL and stays as it is during the call.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str()
            .map_err(|_| Failure::misuse(format!("{what} is not UTF-8")))
    }

    /// The same, or nothing where there is no text.
    pub(crate) fn read_if_given(&self, what: &str) -> Result<Option<&str>, Failure> {
        if self.0.is_null() {
            return Ok(None);
        }
        self.read(what).map(Some)
    }
}

/// The first of some bytes.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Data(*const u8);

impl Data {
    /// The bytes, `length` of them; of none, the place does not matter.
    pub(crate) fn read(&self, length: usize, what: &str) -> Result<&[u8], Failure> {
        if length == 0 {
            return Ok(&[]);
        }
        if self.0.is_null() {
            return Err(Failure::misuse(format!(
                "{what} is NULL, and {length} bytes of it are announced"
            )));
        }
        if isize::try_from(length).is_err() {
            return Err(Failure::misuse(format!(
                "{what} cannot have {length} bytes"
            )));
        }
        // SAFETY: not NULL, no longer than an object can be, and the header demands so many bytes that stay as they are
        // during the call.
        Ok(unsafe { std::slice::from_raw_parts(self.0, length) })
    }

    /// Where bytes are, for C to read.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.as_ptr())
    }

    /// No bytes.
    pub(crate) const NULL: Self = Self(ptr::null());
}

/// Many texts, one after the other.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Texts(*const Text);

impl Texts {
    pub(crate) fn read(&self, count: usize, what: &str) -> Result<Vec<String>, Failure> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if self.0.is_null() || count > MOST_TEXTS {
            return Err(Failure::misuse(format!(
                "{what} must be a list of at most {MOST_TEXTS} texts; it is NULL or longer"
            )));
        }
        // SAFETY: not NULL, bounded, and the header demands so many pointers, each to a string; NULL among them is found
        // by `Text::read`.
        let texts = unsafe { std::slice::from_raw_parts(self.0, count) };
        texts
            .iter()
            .map(|text| text.read(what).map(str::to_owned))
            .collect()
    }
}

/// Most texts in one list.
const MOST_TEXTS: usize = 4_096;

/// Where a result goes. It may hold anything before.
#[repr(transparent)]
pub(crate) struct Out<'a, T>(Option<&'a mut MaybeUninit<T>>);

impl<T> Out<'_, T> {
    /// Puts `value` there.
    pub(crate) fn put(&mut self, value: T, what: &str) -> Result<(), Failure> {
        match &mut self.0 {
            Some(place) => {
                place.write(value);
                Ok(())
            }
            None => Err(Failure::misuse(format!("the place for {what} is NULL"))),
        }
    }
}

/// A place for a new object: it holds NULL until there is one.
pub(crate) type NewObject<'a, T> = Out<'a, Option<Box<T>>>;

/// What an object may be that was handed over.
pub(crate) fn given<'a, T>(object: Option<&'a T>, what: &str) -> Result<&'a T, Failure> {
    object.ok_or_else(|| Failure::misuse(format!("{what} is NULL")))
}

/// A function that is called with lines, and what it is called with besides.
pub(crate) type LineFunction = extern "C" fn(user: *mut c_void, line: Text, length: usize);

/// Both together, for any thread.
pub(crate) struct Lines {
    call: LineFunction,
    user: *mut c_void,
}

// SAFETY: nothing here looks behind `user`; it is handed back to the caller's own function, and the header demands that both
// can be used from any thread.
unsafe impl Send for Lines {}
// SAFETY: the same.
unsafe impl Sync for Lines {}

impl Lines {
    pub(crate) fn new(call: Option<LineFunction>, user: *mut c_void) -> Result<Self, Failure> {
        let call = call.ok_or_else(|| Failure::misuse("the function for lines is NULL".into()))?;
        Ok(Self { call, user })
    }

    /// Calls the function with `line`, after which NUL stands.
    pub(crate) fn line(&self, line: &str) {
        let mut bytes = Vec::with_capacity(line.len().saturating_add(1));
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(0);
        (self.call)(self.user, Text(bytes.as_ptr().cast()), line.len());
    }
}

/// Text of ours, for C to read.
pub(crate) fn lent(text: &CStr) -> Text {
    Text(text.as_ptr())
}

/// No text.
pub(crate) const NO_TEXT: Text = Text(ptr::null());
