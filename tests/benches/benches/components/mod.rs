//! Components of any size.

/// A component of about `size` bytes that cannot be compressed: custom sections of a mebibyte each.
pub(crate) fn of_size(size: usize) -> Vec<u8> {
    const SECTION: usize = 1 << 20;
    let mut component = countersign_testing::EMPTY_COMPONENT.to_vec();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while component.len() < size {
        let length = SECTION.min(size - component.len());
        component.push(0);
        leb128(&mut component, length + 2);
        component.extend(*b"\x01x");
        for _ in 0..length {
            // xorshift64 (Marsaglia, 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            component.push(state.to_le_bytes()[0]);
        }
    }
    component
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}
