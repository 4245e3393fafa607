#if arch(x86_64)
/// A raw kernel that writes a byte to the serial port and halts for good with interrupts off.
enum IdleKernel {
    static let bytes: [UInt8] = {
        let code: [UInt8] = [
            0xFA,  // cli
            0x66, 0xBA, 0xF8, 0x03,  // mov dx, 0x3f8
            0xB0, 0x21,  // mov al, '!'
            0xEE,  // out dx, al
            0xF4, 0xEB, 0xFD,  // 1: hlt; jmp 1b
        ]
        return code + Array("Linux version 0".utf8) + [UInt8](repeating: 0, count: 4096)
    }()
}
#endif
