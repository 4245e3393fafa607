internal import Glibc

/// Memory of the host's at an alignment that direct I/O takes.
@safe
struct AlignedBuffer: ~Copyable {
    // SAFETY: allocated by init, freed once by deinit; whoever uses the pointer stays below `count`.
    @unsafe let start: UnsafeMutableRawPointer

    /// In bytes.
    let count: Int

    /// Nil if the host has no memory.
    init?(count: Int, alignment: Int) {
        var pointer: UnsafeMutableRawPointer?
        guard unsafe posix_memalign(&pointer, alignment, count) == 0, let start = unsafe pointer else { return nil }
        unsafe self.start = start
        self.count = count
    }

    deinit {
        unsafe free(start)
    }
}
