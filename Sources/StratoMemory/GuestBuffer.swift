public import CStratoLinux
internal import Glibc

/// A piece of guest memory, already checked to lie in one region: what is left of a guest's address once it was looked up.
///
/// The guest may change the bytes at any moment, so that whoever decides on one reads it once, into a value of its own.
/// A buffer is laid out as the kernel's `iovec`: an array of them can be handed to `readv` as it is.
/// It does not keep the memory alive; devices hold their `GuestMemory` for as long as they hold buffers.
@frozen @usableFromInline
@safe
package struct GuestBuffer: BitwiseCopyable, @unchecked Sendable {
    // SAFETY: made by GuestMemory alone, from a mapping that lives as long as the memory object; every access below is
    // checked against the count.
    @usableFromInline
    let start: UnsafeMutableRawPointer

    @usableFromInline
    let length: Int

    @inlinable
    init(start: UnsafeMutableRawPointer, length: Int) {
        unsafe self.start = start
        self.length = length
    }

    /// In bytes.
    @inlinable
    package var count: Int { length }

    /// The part that starts `offset` bytes in and is `count` long, or nil if that is not inside.
    @inlinable
    package func slice(from offset: Int, count: Int) -> GuestBuffer? {
        // As unsigned numbers negative ones are larger than any length.
        guard UInt(bitPattern: offset) <= UInt(bitPattern: length),
            UInt(bitPattern: count) <= UInt(bitPattern: length &- offset)
        else { return nil }
        return unsafe GuestBuffer(start: start + offset, length: count)
    }

    /// Whether `size` bytes, one or more, are there from `offset` on.
    @inlinable
    @inline(__always)
    func isInside(_ offset: Int, _ size: Int) -> Bool {
        // As an unsigned number a negative offset is larger than any length.
        UInt(bitPattern: offset) < UInt(bitPattern: length) && size <= length &- offset
    }

    /// Reads two little-endian values that lie side by side, at a multiple of their 16 bytes; nil if they are not wholly inside.
    @inlinable
    @inline(__always)
    package func loadPair(_ index: UInt16) -> (UInt64, UInt64)? {
        let offset = Int(index) &* 16
        guard offset &+ 16 <= length else { return nil }
        // SAFETY: checked above; the offset is not negative.
        return unsafe (
            UInt64(littleEndian: start.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
            UInt64(littleEndian: start.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self))
        )
    }

    /// Reads a little-endian value at any alignment; nil if it is not wholly inside.
    @inlinable
    package func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T? {
        guard isInside(offset, MemoryLayout<T>.size) else { return nil }
        // SAFETY: checked above; integers have no invalid bit pattern.
        return unsafe T(littleEndian: start.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// Writes a little-endian value at any alignment; false, and nothing is written, if it is not wholly inside.
    @inlinable
    @discardableResult
    package func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) -> Bool {
        guard isInside(offset, MemoryLayout<T>.size) else { return false }
        unsafe start.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        return true
    }

    /// Copies out as many bytes as fit in `destination`; returns how many.
    @discardableResult
    package func copy(from offset: Int, to destination: inout MutableSpan<UInt8>) -> Int {
        guard offset >= 0, offset <= length else { return 0 }
        let amount = min(length &- offset, destination.count)
        guard amount > 0 else { return 0 }
        // SAFETY: `amount` is within both; the two cannot overlap, as one is guest memory and the other is not.
        let source = unsafe start + offset
        unsafe destination.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe base.copyMemory(from: source, byteCount: amount)
        }
        return amount
    }

    /// Copies in as many bytes of `source` as fit; returns how many.
    @discardableResult
    package func copy(_ source: Span<UInt8>, to offset: Int) -> Int {
        guard offset >= 0, offset <= length else { return 0 }
        let amount = min(length &- offset, source.count)
        guard amount > 0 else { return 0 }
        let destination = unsafe start + offset
        // SAFETY: as above.
        unsafe source.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe destination.copyMemory(from: base, byteCount: amount)
        }
        return amount
    }

    /// Sets every byte.
    package func fill(_ byte: UInt8) {
        unsafe memset(start, Int32(byte), length)
    }

    /// The bytes as an array of their own.
    package func bytes() -> [UInt8] {
        unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: length))
    }

    /// The host's address, for system calls that take it; used where guest pages are handed to the kernel.
    @unsafe
    @inlinable
    package var hostAddress: UnsafeMutableRawPointer { unsafe start }

    // MARK: Words shared with another processor

    /// Reads a naturally aligned 16-bit word that the guest writes, with acquire ordering; nil if outside or misaligned.
    @inlinable
    package func loadAcquire16(at offset: Int) -> UInt16? {
        guard let address = unsafe wordAddress(offset, size: 2) else { return nil }
        return unsafe UInt16(littleEndian: csl_load16_acquire(address))
    }

    /// Writes a naturally aligned 16-bit word that the guest reads, with release ordering; false if outside or misaligned.
    @inlinable
    @discardableResult
    package func storeRelease16(_ value: UInt16, at offset: Int) -> Bool {
        guard let address = unsafe wordAddress(offset, size: 2) else { return false }
        unsafe csl_store16_release(address, value.littleEndian)
        return true
    }

    @inlinable
    @inline(__always)
    func wordAddress(_ offset: Int, size: Int) -> UnsafeMutableRawPointer? {
        guard isInside(offset, size) else { return nil }
        let address = unsafe start + offset
        guard UInt(bitPattern: address) & UInt(size &- 1) == 0 else { return nil }
        return unsafe address
    }
}

/// Orders a store to shared memory before a later load of it: what virtio's notification suppression rests on.
@inlinable
package func guestMemoryFence() {
    csl_fence_full()
}
