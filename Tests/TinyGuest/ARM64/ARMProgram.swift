#if arch(arm64)
/// A program for a machine on aarch64, as an arm64 Image that is entered at its first byte.
struct ARMProgram {
    /// Registers that have a meaning here; code uses X9 to X15 for itself.
    enum Register: UInt32 {
        case x0, x1, x2, x3
        case scratch = 9
        case address = 10
        case deviceTree = 20
    }

    /// Functions of PSCI (Arm DEN0022, 5.1).
    enum PowerFunction: UInt64 {
        case systemOff = 0x8400_0008
        case systemReset = 0x8400_0009
        case processorOn = 0xC400_0003
    }

    /// Where the code begins in the Image: behind the header.
    private static let headerWords = 16

    private(set) var words: [UInt32] = []

    /// Keeps the device tree's address, which the program is started with.
    init() {
        // mov x20, x0
        words.append(0xAA00_03E0 | Register.deviceTree.rawValue)
    }

    /// Puts a number into a register.
    mutating func load(_ register: Register, _ value: UInt64) {
        for part in UInt32(0)..<4 {
            let bits = UInt32(truncatingIfNeeded: value >> UInt64(16 * part)) & 0xFFFF
            // movz, then movk.
            words.append((part == 0 ? 0xD280_0000 : 0xF280_0000) | part << 21 | bits << 5 | register.rawValue)
        }
    }

    /// Stores a byte at an address.
    mutating func write(_ byte: UInt8, to address: UInt64) {
        load(.scratch, UInt64(byte))
        load(.address, address)
        words.append(0x3900_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
    }

    /// Stores 32 bits at an address.
    mutating func write32(_ value: UInt32, to address: UInt64) {
        load(.scratch, UInt64(value))
        load(.address, address)
        words.append(0xB900_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
    }

    /// Copies 32 bits from one address to another.
    mutating func copy32(from source: UInt64, to target: UInt64) {
        load(.address, source)
        words.append(0xB940_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
        load(.address, target)
        words.append(0xB900_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
    }

    /// Copies the first 32 bits of the device tree to an address.
    mutating func copyDeviceTreeMagic(to target: UInt64) {
        words.append(0xB940_0000 | Register.deviceTree.rawValue << 5 | Register.scratch.rawValue)
        load(.address, target)
        words.append(0xB900_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
    }

    /// Adds one to 32 bits at an address.
    mutating func increment(_ address: UInt64) {
        load(.address, address)
        words.append(0xB940_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
        // add w9, w9, #1
        words.append(0x1100_0400 | Register.scratch.rawValue << 5 | Register.scratch.rawValue)
        words.append(0xB900_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue)
    }

    /// Calls PSCI.
    mutating func call(_ function: PowerFunction, _ arguments: UInt64...) {
        load(.x0, function.rawValue)
        for (register, value) in zip([Register.x1, .x2, .x3], arguments) { load(register, value) }
        // hvc #0
        words.append(0xD400_0002)
    }

    /// Does nothing from here on, for ever.
    mutating func stop() {
        // wfi; b .-4
        words += [0xD503_207F, 0x17FF_FFFF]
    }

    /// Waits until 32 bits at an address are not zero.
    mutating func wait(for address: UInt64) {
        load(.address, address)
        // ldr w9, [x10]; cbz w9, .-4
        words += [0xB940_0000 | Register.address.rawValue << 5 | Register.scratch.rawValue, 0x34FF_FFE9]
    }

    /// Goes on at another instruction.
    ///
    /// - Parameter distance: in instructions, as the branch's field has it.
    mutating func appendBranch(_ distance: UInt32) {
        words.append(0x1400_0000 | distance)
    }

    /// The file of a kernel.
    var image: [UInt8] {
        var header = [UInt32](repeating: 0, count: ARMProgram.headerWords)
        // b to behind the header.
        header[0] = 0x1400_0000 | UInt32(ARMProgram.headerWords)
        // image_size, flags and magic (Linux, Documentation/arch/arm64/booting.rst).
        header[4] = 0x1_0000
        header[6] = 0b1010
        header[14] = 0x644D_5241
        return (header + words).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
    }
}
#endif
