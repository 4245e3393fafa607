import CStratoLinux
import Glibc
import Testing

@Suite("The process")
struct HostProcessTests {
    /// Proves that memory which the system put into the hole between two segments keeps its contents.
    @Test("Only the pages of segments that are read are given back, not what lies between them")
    func releasesSegmentsAlone() throws {
        let page = 4096
        let pages = 6
        let memory = try #require(
            unsafe mmap(nil, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { unsafe munmap(memory, pages * page) }
        unsafe memset(memory, 0x5a, pages * page)
        // Page 0 and half of page 1; a hole that is the rest of 1 and all of 2; code in 3 and 4; data in 5.
        let base: UInt64 = 0x1000
        let segments = [
            segment(type: PT_LOAD, flags: PF_R, address: base, size: 0x1800),
            segment(type: PT_LOAD, flags: PF_R | PF_X, address: base + 0x3000, size: 0x2000),
            segment(type: PT_LOAD, flags: PF_R | PF_W, address: base + 0x5000, size: 0x1000),
            segment(type: PT_GNU_RELRO, flags: PF_R, address: base + 0x2000, size: 0x1000),
        ]
        unsafe segments.withUnsafeBufferPointer {
            unsafe csl_release_read_only_segments(UInt(bitPattern: memory) - UInt(base), $0.baseAddress, $0.count)
        }
        // Memory without a file behind it comes back as zeros.
        let first = (0..<pages).map { unsafe memory.load(fromByteOffset: $0 * page, as: UInt8.self) }
        #expect(first == [0, 0x5a, 0x5a, 0, 0, 0x5a])
    }

    private func segment(type: Int32, flags: Int32, address: UInt64, size: UInt64) -> Elf64_Phdr {
        var header = Elf64_Phdr()
        header.p_type = UInt32(type)
        header.p_flags = UInt32(flags)
        header.p_vaddr = address
        header.p_filesz = size
        header.p_memsz = size
        return header
    }
}
