#if arch(arm64)
/// A kernel in the form of arm64's Image that writes a byte to the serial port and waits for ever, with interrupts off.
enum IdleKernel {
    static let bytes: [UInt8] = {
        let code: [UInt32] = [
            0xD2A1_2001,  // mov x1, #0x9000000
            0x5280_0420,  // mov w0, #'!'
            0x3900_0020,  // strb w0, [x1]
            0xD503_207F,  // 1: wfi
            0x17FF_FFFF,  // b 1b
        ]
        // The header is 64 bytes (Linux, Documentation/arm64/booting.rst); its first word jumps over it.
        var header: [UInt32] = [0x1400_0010, 0]
        header += [0, 0]  // text_offset
        header += [4096, 0]  // image_size
        header += [0b1010, 0]  // flags: little-endian, pages of 4 KiB, anywhere in memory
        header += [0, 0, 0, 0, 0, 0]
        header += [0x644D_5241, 0]  // "ARM\u{64}"
        return (header + code).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
            + [UInt8](repeating: 0, count: 4096 - 64 - 20)
    }()
}
#endif
