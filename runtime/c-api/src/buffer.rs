//! Bytes on their way to C: `countersign_buffer`, and `countersign_capture`, into which guests write.

use countersign_runtime::Captured;

use crate::error::{Error, answer, look};
use crate::passed::{Data, NewObject, given};

/// `countersign_buffer`.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn boxed(bytes: Vec<u8>) -> Option<Box<Self>> {
        Some(Box::new(Self(bytes)))
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_buffer_data(buffer: Option<&Buffer>) -> Data {
    buffer.map_or(Data::NULL, |buffer| Data::of(&buffer.0))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_buffer_length(buffer: Option<&Buffer>) -> usize {
    buffer.map_or(0, |buffer| buffer.0.len())
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_buffer_free(buffer: Option<Box<Buffer>>) {
    look((), || drop(buffer));
}

/// `countersign_capture`.
#[derive(Default)]
pub(crate) struct Capture(Captured);

impl Capture {
    pub(crate) fn get(&self) -> Captured {
        self.0.clone()
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_capture_new() -> Option<Box<Capture>> {
    look(None, || Some(Box::default()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_capture_free(capture: Option<Box<Capture>>) {
    look((), || drop(capture));
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn countersign_capture_contents(
    capture: Option<&Capture>,
    mut buffer: NewObject<'_, Buffer>,
) -> Option<Box<Error>> {
    answer(|| {
        buffer.put(None, "the buffer")?;
        let contents = given(capture, "capture")?.0.contents();
        buffer.put(Buffer::boxed(contents), "the buffer")
    })
}
