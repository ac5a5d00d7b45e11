//! The operations that are done in pieces, and the function that does each.

use wasm_encoder::{BlockType, Function, InstructionSink};

/// The most that one operation covers: bytes of a memory (1 MiB), elements of a table.
pub(super) const BYTES: i32 = 1 << 20;
pub(super) const ELEMENTS: i32 = 1 << 14;

/// The type of each function that is added: three numbers of 32 bits, and no result (WebAssembly 2.0, 5.3.6).
pub(super) const TYPE: [u8; 6] = [0x60, 3, 0x7f, 0x7f, 0x7f, 0];

/// Its parameters: where it writes, where it reads or what it fills with, and how many bytes or elements.
const TO: u32 = 0;
const FROM: u32 = 1;
const LENGTH: u32 = 2;

/// An operation that is done in pieces. A segment has its length, as long as it was not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Long {
    MemoryCopy,
    MemoryFill,
    MemoryInit { segment: u32, length: u32 },
    TableCopy { to: u32, from: u32 },
    TableInit { to: u32, segment: u32, length: u32 },
}

/// What is read or written, and so has bounds.
#[derive(Clone, Copy)]
enum Within {
    Memory,
    Table(u32),
    Segment(u32),
}

impl Long {
    /// The most that it covers at once.
    pub(super) const fn piece(self) -> i32 {
        match self {
            Self::MemoryCopy | Self::MemoryFill | Self::MemoryInit { .. } => BYTES,
            Self::TableCopy { .. } | Self::TableInit { .. } => ELEMENTS,
        }
    }

    /// What it writes to, and what it reads.
    fn within(self) -> (Within, Option<Within>) {
        match self {
            Self::MemoryFill => (Within::Memory, None),
            Self::MemoryCopy => (Within::Memory, Some(Within::Memory)),
            Self::MemoryInit { length, .. } => (Within::Memory, Some(Within::Segment(length))),
            Self::TableCopy { to, from } => (Within::Table(to), Some(Within::Table(from))),
            Self::TableInit { to, length, .. } => {
                (Within::Table(to), Some(Within::Segment(length)))
            }
        }
    }

    /// The operation itself.
    fn once(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::MemoryCopy => code.memory_copy(0, 0),
            Self::MemoryFill => code.memory_fill(0),
            Self::MemoryInit { segment, .. } => code.memory_init(0, segment),
            Self::TableCopy { to, from } => code.table_copy(to, from),
            Self::TableInit { to, segment, .. } => code.table_init(to, segment),
        };
    }

    /// What does it in pieces:
    ///
    /// ```text
    /// if LENGTH > piece and all of it is in bounds {
    ///     while LENGTH > piece { the operation, for a piece }
    /// }
    /// the operation, for the rest; or for all of it, which traps then
    /// ```
    pub(super) fn function(self) -> Function {
        let mut function = Function::new([]);
        let code = &mut function.instructions();
        self.is_more_than_a_piece(code);
        code.if_(BlockType::Empty);
        self.is_in_bounds(code);
        code.if_(BlockType::Empty);
        if let Self::MemoryCopy | Self::TableCopy { .. } = self {
            // What overlaps is copied from the side on which nothing is overwritten that is still to be read.
            code.local_get(TO).local_get(FROM).i32_le_u();
            code.if_(BlockType::Empty);
            self.upwards(code);
            code.else_();
            self.downwards(code);
            code.end();
        } else {
            self.upwards(code);
        }
        code.end().end();
        code.local_get(TO).local_get(FROM).local_get(LENGTH);
        self.once(code);
        code.end();
        function
    }

    fn is_more_than_a_piece(self, code: &mut InstructionSink<'_>) {
        code.local_get(LENGTH).i32_const(self.piece()).i32_gt_u();
    }

    /// Leaves on the stack whether all that is written, and all that is read, lies within its bounds.
    fn is_in_bounds(self, code: &mut InstructionSink<'_>) {
        let (to, from) = self.within();
        to.holds(code, TO);
        if let Some(from) = from {
            from.holds(code, FROM);
            code.i32_and();
        }
    }

    /// Pieces from the first on, until no more than one is left.
    fn upwards(self, code: &mut InstructionSink<'_>) {
        code.loop_(BlockType::Empty);
        code.local_get(TO).local_get(FROM).i32_const(self.piece());
        self.once(code);
        code.local_get(TO)
            .i32_const(self.piece())
            .i32_add()
            .local_set(TO);
        if self.within().1.is_some() {
            code.local_get(FROM)
                .i32_const(self.piece())
                .i32_add()
                .local_set(FROM);
        }
        code.local_get(LENGTH)
            .i32_const(self.piece())
            .i32_sub()
            .local_set(LENGTH);
        self.is_more_than_a_piece(code);
        code.br_if(0).end();
    }

    /// Pieces from the last on, until no more than one is left.
    fn downwards(self, code: &mut InstructionSink<'_>) {
        code.loop_(BlockType::Empty);
        code.local_get(LENGTH)
            .i32_const(self.piece())
            .i32_sub()
            .local_set(LENGTH);
        code.local_get(TO).local_get(LENGTH).i32_add();
        code.local_get(FROM).local_get(LENGTH).i32_add();
        code.i32_const(self.piece());
        self.once(code);
        self.is_more_than_a_piece(code);
        code.br_if(0).end();
    }
}

impl Within {
    /// Leaves on the stack whether LENGTH from `at` on lies within it. The sum of two numbers of 32 bits is one of 33. Of a segment
    /// that was dropped nothing is there, and the first piece traps.
    fn holds(self, code: &mut InstructionSink<'_>, at: u32) {
        code.local_get(at).i64_extend_i32_u();
        code.local_get(LENGTH).i64_extend_i32_u().i64_add();
        match self {
            // In pages of 64 KiB.
            Self::Memory => code
                .memory_size(0)
                .i64_extend_i32_u()
                .i64_const(16)
                .i64_shl(),
            Self::Table(table) => code.table_size(table).i64_extend_i32_u(),
            Self::Segment(length) => code.i64_const(i64::from(length)),
        };
        code.i64_le_u();
    }
}
