#if arch(x86_64)
/// Firmware of a few instructions, in an image as flash holds it: it ends where a PC's processor begins.
struct TinyFirmware {
    /// Larger than what is shown below 1 MiB.
    static let size = 256 << 10

    /// Where the image's last 64 KiB are, which the reset state's code segment covers.
    private static let segmentBase: UInt64 = 0xFFFF_0000

    private var code = MachineCode()

    /// Enters protected mode with flat segments; what is appended later runs there, from the flash.
    init() {
        code.emit(0xFA)  // cli
        // lgdt cs:[table register]: the offset is that in the segment.
        code.emit(0x66, 0x2E, 0x0F, 0x01, 0x16, 0x00, 0x01)
        code.emit(0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0)  // mov eax, cr0; or al, 1; mov cr0, eax
        code.emit(0x66, 0xEA, addressOf: "protected", loadedAt: TinyFirmware.segmentBase)  // jmp 8:protected
        code.emit(0x08, 0x00)
        code.pad(to: 0x100)
        for byte in UInt16(23).littleEndianBytes { code.emit(byte) }
        for byte in UInt32(truncatingIfNeeded: TinyFirmware.segmentBase + 0x110).littleEndianBytes { code.emit(byte) }
        code.pad(to: 0x110)
        for entry in [0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF] as [UInt64] {
            for byte in entry.littleEndianBytes { code.emit(byte) }
        }
        code.label("protected")
        code.emit(0xB8, 0x10, 0, 0, 0, 0x8E, 0xD8)  // mov eax, 0x10; mov ds, eax
    }

    /// Writes a byte of memory.
    mutating func write(_ value: UInt8, to address: UInt32) {
        code.emit(0xB0, value, 0xA2)  // mov al, value; mov [address], al
        for byte in address.littleEndianBytes { code.emit(byte) }
    }

    /// Copies a byte of memory.
    mutating func copy(from source: UInt32, to destination: UInt32) {
        code.emit(0xA0)  // mov al, [source]
        for byte in source.littleEndianBytes { code.emit(byte) }
        code.emit(0xA2)  // mov [destination], al
        for byte in destination.littleEndianBytes { code.emit(byte) }
    }

    /// Adds one to a byte of memory.
    mutating func increment(_ address: UInt32) {
        code.emit(0xFE, 0x05)  // inc byte [address]
        for byte in address.littleEndianBytes { code.emit(byte) }
    }

    /// Writes a byte to a port.
    mutating func out(_ value: UInt8, to port: UInt16) {
        code.emit(0x66, 0xBA)  // mov dx, port
        for byte in port.littleEndianBytes { code.emit(byte) }
        code.emit(0xB0, value, 0xEE)  // mov al, value; out dx, al
    }

    /// Writes 16 bits to a port.
    mutating func out16(_ value: UInt16, to port: UInt16) {
        code.emit(0x66, 0xBA)
        for byte in port.littleEndianBytes { code.emit(byte) }
        code.emit(0x66, 0xB8)
        for byte in value.littleEndianBytes { code.emit(byte) }
        code.emit(0x66, 0xEF)  // out dx, ax
    }

    /// Writes 32 bits to a port.
    mutating func out32(_ value: UInt32, to port: UInt16) {
        code.emit(0x66, 0xBA)
        for byte in port.littleEndianBytes { code.emit(byte) }
        code.emit(0xB8)
        for byte in value.littleEndianBytes { code.emit(byte) }
        code.emit(0xEF)  // out dx, eax
    }

    /// Reads a byte of a port to memory.
    mutating func input(_ port: UInt16, to address: UInt32) {
        code.emit(0x66, 0xBA)
        for byte in port.littleEndianBytes { code.emit(byte) }
        code.emit(0xEC, 0xA2)  // in al, dx; mov [address], al
        for byte in address.littleEndianBytes { code.emit(byte) }
    }

    mutating func halt() {
        code.emit(0xFA, 0xF4)  // cli; hlt
    }

    /// The image.
    func image() -> [UInt8] {
        let segment = code.assembled()
        var image = [UInt8](repeating: 0xFF, count: TinyFirmware.size - 0x1_0000) + segment
        image += [UInt8](repeating: 0x90, count: TinyFirmware.size - 16 - image.count)
        // jmp to the segment's first byte, 0xFFF3 bytes back from behind the instruction.
        return image + [0xE9, 0x0D, 0x00] + [UInt8](repeating: 0x90, count: 13)
    }
}
#endif
