//! What the processor of this machine has, of that for which Wasmtime's compiler makes other code.

/// Their names, sorted, as Rust spells them.
pub(super) fn features() -> Vec<&'static str> {
    let mut found: Vec<_> = detected()
        .into_iter()
        .filter_map(|(name, has)| has.then_some(name))
        .collect();
    found.sort_unstable();
    found
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<(&'static str, bool)> {
    macro_rules! detect {
        ($($name:tt)*) => { vec![$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    detect!(
        "avx" "avx2" "avx512bitalg" "avx512dq" "avx512f" "avx512vbmi" "avx512vl" "bmi1" "bmi2" "cmpxchg16b" "fma" "lzcnt"
        "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3"
    )
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<(&'static str, bool)> {
    macro_rules! detect {
        ($($name:tt)*) => { vec![$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    detect!("dotprod" "fp16" "i8mm" "lse" "paca")
}

/// Elsewhere Wasmtime's own comparison stands alone, and code is for the target's least processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}
