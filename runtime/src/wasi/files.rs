//! `wasi:filesystem/types` of a guest: Wasmtime's, behind the count of what lent folders may hold.
//!
//! Whatever makes a folder hold more is counted first: a file that grows, and each new name. A descriptor belongs to the folder
//! through which it was opened. From one folder to another that is counted apart nothing is moved or linked, as between file
//! systems: a file would grow through one and be found in the other.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, Filesize, Host, HostDescriptor, HostDirectoryEntryStream,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult, OutputStream, Pollable, StreamError,
    StreamResult,
};

use super::quota::{self, Held, Moving, Quota};

/// The most that Wasmtime takes of one write to a file, in bytes (64 KiB).
const CHUNK: u64 = 64 << 10;

/// The most streams to files that a guest may have at the same time. Each may hold [`CHUNK`] until the disk has it.
const STREAMS: usize = 1_024;

/// Which of a guest's descriptors belong to folders that are counted, and its streams to files.
#[derive(Default)]
pub(crate) struct Quotas {
    counted: HashMap<u32, Quota>,
    /// Each stream has one of these.
    streams: Arc<()>,
}

impl Quotas {
    pub(super) fn insert(&mut self, descriptor: &Resource<Descriptor>, quota: Quota) {
        self.counted.insert(descriptor.rep(), quota);
    }

    fn of(&self, descriptor: &Resource<Descriptor>) -> Option<Quota> {
        self.counted.get(&descriptor.rep()).cloned()
    }

    /// What a new stream has, if there may be another.
    fn stream(&self) -> FsResult<Arc<()>> {
        match Arc::strong_count(&self.streams) > STREAMS {
            true => Err(ErrorCode::InsufficientMemory.into()),
            false => Ok(Arc::clone(&self.streams)),
        }
    }
}

/// Selects what `wasi:filesystem/types` needs of a host's state.
pub(super) struct Files;

impl HasData for Files {
    type Data<'a> = View<'a>;
}

pub(super) struct View<'a> {
    pub(super) wasi: WasiFilesystemCtxView<'a>,
    pub(super) quotas: &'a mut Quotas,
}

impl View<'_> {
    /// The file behind a descriptor, and who counts what is written to it.
    fn counted(&self, descriptor: &Resource<Descriptor>) -> FsResult<Option<(Arc<File>, Quota)>> {
        let Some(quota) = self.quotas.of(descriptor) else {
            return Ok(None);
        };
        match self.wasi.table.get(descriptor)? {
            Descriptor::File(file) => Ok(Some((Arc::clone(&file.file), quota))),
            // Which is refused by whoever is asked next.
            Descriptor::Dir(_) => Ok(None),
        }
    }

    /// Whether two descriptors are counted together, or neither is.
    fn together(&self, one: &Resource<Descriptor>, other: &Resource<Descriptor>) -> FsResult<()> {
        match (self.quotas.of(one), self.quotas.of(other)) {
            (None, None) => Ok(()),
            (Some(one), Some(other)) if one.is(&other) => Ok(()),
            _ => Err(ErrorCode::CrossDevice.into()),
        }
    }

    /// Puts the permit and the count before a stream that writes to a file from `at` on, or to its end.
    fn meter(
        &mut self,
        stream: Resource<DynOutputStream>,
        one: Arc<()>,
        counted: Option<(Arc<File>, Quota)>,
        at: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let inner: DynOutputStream = Box::new(Permitted {
            inner: self.wasi.table.delete(stream)?,
            _one: one,
        });
        let Some((file, quota)) = counted else {
            return Ok(self.wasi.table.push(inner)?);
        };
        let measured = quota.measured();
        let metered: DynOutputStream = Box::new(Metered {
            inner,
            file,
            quota,
            at,
            held: None,
            permitted: false,
            measured,
            ended: false,
        });
        Ok(self.wasi.table.push(metered)?)
    }
}

/// Counts a new name in a folder.
async fn name(quota: Option<Quota>) -> FsResult<Option<Held>> {
    match quota {
        None => Ok(None),
        Some(quota) => {
            let held = quota.reserve(|| Ok(quota::BLOCK)).await?;
            held.map(Some).ok_or_else(full)
        }
    }
}

/// Waits until a name may be moved or added in a folder.
async fn moving(quota: Option<Quota>) -> Option<Moving> {
    match quota {
        None => None,
        Some(quota) => Some(quota.moving().await),
    }
}

/// The folder that a path leads through last, as it is spelled.
fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// Counts what a file grows by that is to have bytes up to `end`.
async fn grow(counted: Option<(Arc<File>, Quota)>, end: u64) -> FsResult<Option<Held>> {
    let Some((file, quota)) = counted else {
        return Ok(None);
    };
    let held = quota.reserve(|| quota::growth(&file, end)).await?;
    held.map(Some).ok_or_else(full)
}

/// Does what was counted.
async fn counting<T>(held: Option<Held>, does: impl Future<Output = T>) -> T {
    let done = does.await;
    if let Some(held) = held {
        held.written();
    }
    done
}

fn full() -> FsError {
    ErrorCode::InsufficientSpace.into()
}

impl Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.wasi.convert_error_code(error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.wasi.filesystem_error_code(error)
    }
}

impl HostDescriptor for View<'_> {
    async fn advise(
        &mut self,
        file: Resource<Descriptor>,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.wasi.advise(file, offset, length, advice).await
    }

    async fn sync_data(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        self.wasi.sync_data(file).await
    }

    async fn get_flags(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        self.wasi.get_flags(file).await
    }

    async fn get_type(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorType> {
        self.wasi.get_type(file).await
    }

    async fn set_size(&mut self, file: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        let held = grow(self.counted(&file)?, size).await?;
        counting(held, self.wasi.set_size(file, size)).await
    }

    async fn set_times(
        &mut self,
        file: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.wasi.set_times(file, accessed, modified).await
    }

    async fn read(
        &mut self,
        file: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.wasi.read(file, length, offset).await
    }

    async fn write(
        &mut self,
        file: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let counted = match bytes.is_empty() {
            true => None,
            false => self.counted(&file)?,
        };
        let held = grow(counted, end(offset, bytes.len())).await?;
        counting(held, self.wasi.write(file, bytes, offset)).await
    }

    async fn read_directory(
        &mut self,
        folder: Resource<Descriptor>,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        self.wasi.read_directory(folder).await
    }

    async fn sync(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        self.wasi.sync(file).await
    }

    async fn create_directory_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let held = name(self.quotas.of(&folder)).await?;
        counting(held, self.wasi.create_directory_at(folder, path)).await
    }

    async fn stat(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.wasi.stat(file).await
    }

    async fn stat_at(
        &mut self,
        folder: Resource<Descriptor>,
        how: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        self.wasi.stat_at(folder, how, path).await
    }

    async fn set_times_at(
        &mut self,
        folder: Resource<Descriptor>,
        how: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.wasi
            .set_times_at(folder, how, path, accessed, modified)
            .await
    }

    async fn link_at(
        &mut self,
        folder: Resource<Descriptor>,
        how: PathFlags,
        path: String,
        to: Resource<Descriptor>,
        new: String,
    ) -> FsResult<()> {
        self.together(&folder, &to)?;
        let held = name(self.quotas.of(&to)).await?;
        let _moving = moving(self.quotas.of(&to)).await;
        counting(held, self.wasi.link_at(folder, how, path, to, new)).await
    }

    async fn open_at(
        &mut self,
        folder: Resource<Descriptor>,
        how: PathFlags,
        path: String,
        open: OpenFlags,
        mut flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let quota = self.quotas.of(&folder);
        // A folder is not made so, which Wasmtime says.
        let makes = open.contains(OpenFlags::CREATE) && !open.contains(OpenFlags::DIRECTORY);
        let held = match makes {
            true => name(quota.clone()).await,
            false => Ok(None),
        };
        let (open, is_full) = match &held {
            // What is there already needs no room to be opened, and is opened as Wasmtime opens what may be made.
            Err(_) if !open.contains(OpenFlags::EXCLUSIVE) => {
                if !flags.contains(DescriptorFlags::WRITE) {
                    flags |= DescriptorFlags::READ | DescriptorFlags::WRITE;
                }
                (open & !OpenFlags::CREATE, true)
            }
            _ => (open, false),
        };
        let held = match is_full {
            true => None,
            false => held?,
        };
        let opened = counting(held, self.wasi.open_at(folder, how, path, open, flags)).await;
        let opened = opened.map_err(|error| match error.downcast_ref() {
            Some(ErrorCode::NoEntry) if is_full => full(),
            _ => error,
        })?;
        if let Some(quota) = quota {
            quota.watch(match self.wasi.table.get(&opened)? {
                Descriptor::File(file) => &file.file,
                Descriptor::Dir(folder) => &folder.dir,
            });
            self.quotas.insert(&opened, quota);
        }
        Ok(opened)
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.quotas.counted.remove(&descriptor.rep());
        HostDescriptor::drop(&mut self.wasi, descriptor)
    }

    async fn readlink_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<String> {
        self.wasi.readlink_at(folder, path).await
    }

    async fn remove_directory_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.wasi.remove_directory_at(folder, path).await
    }

    async fn rename_at(
        &mut self,
        folder: Resource<Descriptor>,
        path: String,
        to: Resource<Descriptor>,
        new: String,
    ) -> FsResult<()> {
        self.together(&folder, &to)?;
        let quota = self.quotas.of(&to);
        // Where a name leaves its folder, another grows, and few file systems have one shrink.
        let held = match folder.rep() == to.rep() && parent(&path) == parent(&new) {
            true => None,
            false => name(quota.clone()).await?,
        };
        let _moving = moving(quota).await;
        counting(held, self.wasi.rename_at(folder, path, to, new)).await
    }

    async fn symlink_at(
        &mut self,
        folder: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> FsResult<()> {
        let held = name(self.quotas.of(&folder)).await?;
        counting(held, self.wasi.symlink_at(folder, target, path)).await
    }

    async fn unlink_file_at(&mut self, folder: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.wasi.unlink_file_at(folder, path).await
    }

    fn read_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.wasi.read_via_stream(file, offset)
    }

    fn write_via_stream(
        &mut self,
        file: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let (one, counted) = (self.quotas.stream()?, self.counted(&file)?);
        let stream = self.wasi.write_via_stream(file, offset)?;
        self.meter(stream, one, counted, Some(offset))
    }

    fn append_via_stream(
        &mut self,
        file: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let (one, counted) = (self.quotas.stream()?, self.counted(&file)?);
        let stream = self.wasi.append_via_stream(file)?;
        self.meter(stream, one, counted, None)
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        self.wasi.is_same_object(one, other).await
    }

    async fn metadata_hash(&mut self, file: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash(file).await
    }

    async fn metadata_hash_at(
        &mut self,
        folder: Resource<Descriptor>,
        how: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash_at(folder, how, path).await
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.wasi.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.wasi, stream)
    }
}

/// Where so many bytes end that are written at an offset.
fn end(offset: u64, length: usize) -> u64 {
    offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX))
}

/// A stream that writes to a file, and takes no more at once than it ever permits: Wasmtime's keeps in memory whatever it is given
/// until the disk has it, and a guest may have many.
struct Permitted {
    inner: DynOutputStream,
    /// Of [`Quotas::streams`].
    _one: Arc<()>,
}

#[async_trait]
impl Pollable for Permitted {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for Permitted {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // wasi:io/streams: what is longer than check-write said traps.
        if end(0, bytes.len()) > CHUNK {
            return Err(StreamError::trap("more is written than was permitted"));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.inner.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

/// A stream that writes to a file, behind the count. What is over it fails as a full disk does.
struct Metered {
    inner: DynOutputStream,
    file: Arc<File>,
    quota: Quota,
    /// Where the next byte goes; at the file's end if there is none.
    at: Option<u64>,
    /// Counted for what was written last, while that is on its way.
    held: Option<Held>,
    /// Whether the guest was told that it may write, or would be.
    permitted: bool,
    /// How often the folder had been measured when something was written last, or the stream was made.
    measured: u64,
    ended: bool,
}

impl Metered {
    /// What was counted for the last write is written.
    fn written(&mut self) {
        if let Some(held) = self.held.take() {
            held.written();
        }
    }

    /// Takes note of what is counted and about to be written.
    fn counted(&mut self, held: Option<Held>, bytes: &Bytes) -> StreamResult<()> {
        let Some(held) = held else {
            self.ended = true;
            let full = io::Error::from(Errno::NOSPC);
            return Err(StreamError::LastOperationFailed(full.into()));
        };
        self.held = Some(held);
        self.permitted = false;
        self.measured = self.quota.measured();
        self.at = self.at.map(|at| end(at, bytes.len()));
        Ok(())
    }
}

#[async_trait]
impl Pollable for Metered {
    async fn ready(&mut self) {
        self.inner.ready().await;
        self.written();
        if !self.permitted && !self.quota.has(CHUNK) {
            self.quota.measure().await;
        }
        self.permitted = true;
    }
}

#[async_trait]
impl OutputStream for Metered {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        let growth = growth(&self.file, self.at, bytes.len()).map_err(failed)?;
        let held = self.quota.take(growth);
        self.counted(held, &bytes)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        let takes = self.inner.check_write();
        if !matches!(takes, Ok(0)) {
            self.written();
        }
        let takes = takes?;
        // Measured for somebody who gave up waiting, too.
        self.permitted |= self.quota.has(CHUNK) || self.quota.measured() > self.measured;
        // Who is told to wait has the folder measured.
        Ok(if self.permitted { takes } else { 0 })
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        self.inner.ready().await;
        self.written();
        let length = bytes.len();
        let (file, at) = (Arc::clone(&self.file), self.at);
        let held = self.quota.reserve(|| growth(&file, at, length)).await;
        self.counted(held.map_err(failed)?, &bytes)?;
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.written();
        written
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
        self.written();
    }
}

/// What bytes take at a place, or at the end of a file. Others may be on their way to the same end: each of them is counted whole.
fn growth(file: &File, at: Option<u64>, length: usize) -> io::Result<u64> {
    match at {
        Some(at) => quota::growth(file, end(at, length)),
        None => Ok(quota::blocks(end(0, length))),
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}
