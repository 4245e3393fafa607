#if arch(x86_64)
/// What a tiny guest does, step by step: a table that its interpreter runs.
struct GuestProgram {
    /// One entry of the table, 32 bytes.
    struct Step {
        var operation: Operation
        var width: UInt32 = 0
        var address: UInt64 = 0
        var value: UInt64 = 0
        var extra: UInt64 = 0

        var bytes: [UInt8] {
            operation.rawValue.littleEndianBytes + width.littleEndianBytes + address.littleEndianBytes
                + value.littleEndianBytes + extra.littleEndianBytes
        }
    }

    /// The interpreter's operations; their order is that of its table of jumps.
    enum Operation: UInt32, CaseIterable {
        /// Halts with interrupts off, for ever.
        case halt
        case write
        /// Reads, and writes what was read to the address in `value`, as 64 bits.
        case read
        case portWrite
        case portRead
        /// Reads again and again until the bits of `extra` are those of `value`.
        case wait
        /// The same, with a halt between two reads that an interrupt ends.
        case waitHalted
        /// Reads at `extra` addresses one after the other, each one byte further.
        case sweepRead
        /// Writes `value` at `extra` addresses one after the other, each one byte further.
        case sweepWrite
        /// Copies `extra` times 8 bytes from `value` to `address`.
        case copy
        /// Decrements 64 bits at `address`; goes to the step numbered `value` unless they are zero.
        case countDown
        /// Goes to the step numbered `value`.
        case jump
        case add
        /// Reads 16 bits at `address` again and again until they are those at `value`.
        case waitEqual
        /// Executes what is at `address`.
        case execute
        /// Reads a byte of a port again and again until the bits of `extra` are those of `value`, with a halt between two
        /// reads that an interrupt ends.
        case waitPortHalted
    }

    private(set) var steps: [Step] = []

    /// Where what is read goes: one place of 8 bytes after the other.
    private(set) var resultCount = 0

    /// The number of the next step, to go back to.
    var position: UInt64 { UInt64(steps.count) }

    /// A place among the results.
    struct Result: Hashable {
        let index: Int
        var address: UInt64 { TinyKernel.results + UInt64(index) * 8 }
    }

    mutating func newResult() -> Result {
        defer { resultCount += 1 }
        return Result(index: resultCount)
    }

    mutating func write(_ value: UInt64, to address: UInt64, width: Int = 4) {
        steps.append(Step(operation: .write, width: UInt32(width), address: address, value: value))
    }

    mutating func read(_ address: UInt64, width: Int = 4) -> Result {
        let result = newResult()
        steps.append(Step(operation: .read, width: UInt32(width), address: address, value: result.address))
        return result
    }

    mutating func portWrite(_ value: UInt64, to port: UInt16, width: Int = 1) {
        steps.append(Step(operation: .portWrite, width: UInt32(width), address: UInt64(port), value: value))
    }

    mutating func portRead(_ port: UInt16, width: Int = 1) -> Result {
        let result = newResult()
        steps.append(Step(operation: .portRead, width: UInt32(width), address: UInt64(port), value: result.address))
        return result
    }

    mutating func wait(for value: UInt64, at address: UInt64, mask: UInt64 = .max, width: Int = 4, isHalted: Bool = false) {
        steps.append(
            Step(
                operation: isHalted ? .waitHalted : .wait, width: UInt32(width), address: address, value: value, extra: mask))
    }

    mutating func sweepRead(_ address: UInt64, count: Int, width: Int) {
        steps.append(Step(operation: .sweepRead, width: UInt32(width), address: address, extra: UInt64(count)))
    }

    mutating func sweepWrite(_ value: UInt64, to address: UInt64, count: Int, width: Int) {
        steps.append(
            Step(operation: .sweepWrite, width: UInt32(width), address: address, value: value, extra: UInt64(count)))
    }

    mutating func copy(from source: UInt64, to destination: UInt64, count: Int) {
        steps.append(Step(operation: .copy, address: destination, value: source, extra: UInt64((count + 7) / 8)))
    }

    mutating func add(_ value: UInt64, to address: UInt64, width: Int = 8) {
        steps.append(Step(operation: .add, width: UInt32(width), address: address, value: value))
    }

    mutating func waitEqual(_ address: UInt64, to other: UInt64) {
        steps.append(Step(operation: .waitEqual, address: address, value: other))
    }

    mutating func waitHalted(for value: UInt64, atPort port: UInt16, mask: UInt64) {
        steps.append(Step(operation: .waitPortHalted, address: UInt64(port), value: value, extra: mask))
    }

    mutating func jump(to position: UInt64) {
        steps.append(Step(operation: .jump, value: position))
    }

    mutating func execute(at address: UInt64) {
        steps.append(Step(operation: .execute, address: address))
    }

    mutating func halt() {
        steps.append(Step(operation: .halt))
    }

    /// Does what `body` appends `count` times.
    mutating func loop(_ count: Int, _ body: (inout GuestProgram) -> Void) {
        let counter = newResult()
        write(UInt64(count), to: counter.address, width: 8)
        let start = position
        body(&self)
        steps.append(Step(operation: .countDown, address: counter.address, value: start))
    }

    /// Does what `body` appends for ever.
    mutating func loopForever(_ body: (inout GuestProgram) -> Void) {
        let start = position
        body(&self)
        jump(to: start)
    }
}

extension GuestProgram {
    /// Registers of the x86 microVM by which a guest ends.
    enum Port {
        static let sleepControl: UInt16 = 0xCE9
        static let keyboardCommand: UInt16 = 0x64
        static let serial: UInt16 = 0x3F8
        static let serialScratch: UInt16 = 0x3FF
    }

    /// Enters S5 as hardware-reduced ACPI does: sleep type 5 with the enable bit (ACPI 6.4, 4.8.3.7).
    mutating func powerOff() {
        portWrite(5 << 2 | 1 << 5, to: Port.sleepControl)
        halt()
    }

    /// Pulses the processor's reset line by the keyboard controller.
    mutating func resetByKeyboardController() {
        portWrite(0xFE, to: Port.keyboardCommand)
        halt()
    }

    mutating func print(_ text: String) {
        for byte in text.utf8 { portWrite(UInt64(byte), to: Port.serial) }
    }

    /// Lets the serial port interrupt for received bytes (PC16550D: IER, and OUT2 of MCR, which gates the line in a PC).
    mutating func enableSerialInterrupt() {
        portWrite(0x01, to: Port.serial + 1)
        portWrite(0x08, to: Port.serial + 4)
    }

    /// Waits for a byte on the serial port, and reads it.
    @discardableResult
    mutating func waitForSerialByte() -> Result {
        waitHalted(for: 1, atPort: Port.serial + 5, mask: 1)
        return portRead(Port.serial)
    }

    /// Lets the two 8259s deliver the ISA interrupts as vectors 0x20...0x2F, all unmasked (Intel 8259A: ICW1...ICW4, OCW1).
    mutating func enableInterruptController() {
        for (port, values) in [(UInt16(0x20), [0x11, 0x20, 0x04, 0x01, 0x00]), (0xA0, [0x11, 0x28, 0x02, 0x01, 0x00])] {
            portWrite(UInt64(values[0]), to: port)
            for value in values.dropFirst() { portWrite(UInt64(value), to: port + 1) }
        }
        // The timer, which nobody has set up, stays masked.
        portWrite(1, to: 0x21)
    }
}
#endif
