/// The MP configuration table (Intel MultiProcessor Specification 1.4) of a machine with local APICs, one I/O APIC and ISA interrupts:
/// what tells a kernel without ACPI about its processors.
package struct MPTable: Sendable, Equatable {
    /// Where a kernel looks for the floating pointer: the last KiB of base memory, …
    package static let baseMemoryArea: UInt64 = 0x9_FC00
    package static let baseMemoryAreaSize = 0x400

    /// … and the area of the BIOS (chapter 4).
    package static let firmwareArea: UInt64 = 0xF_0000
    package static let firmwareAreaSize = 0x1_0000

    /// Table 4-1.
    static let floatingPointerSize = 16
    static let specificationRevision: UInt8 = 4

    /// Tables 4-2 to 4-11.
    static let headerSize = 44
    static let processorEntrySize = 20
    static let otherEntrySize = 8
    static let interruptCount = 16

    /// What a processor of family 6 with an FPU and an APIC says of itself (tables 4-5 and 4-6).
    static let processorSignature: UInt32 = 0x600
    static let processorFeatures: UInt32 = 0x201
    static let localAPICVersion: UInt8 = 0x14
    static let ioAPICVersion: UInt8 = 0x11

    private enum EntryType {
        static let processor: UInt8 = 0
        static let bus: UInt8 = 1
        static let ioAPIC: UInt8 = 2
        static let ioInterrupt: UInt8 = 3
        static let localInterrupt: UInt8 = 4
    }

    private enum InterruptType {
        static let vectored: UInt8 = 0
        static let nonMaskable: UInt8 = 1
        static let external: UInt8 = 3
    }

    private enum ProcessorFlag {
        static let isEnabled: UInt8 = 1 << 0
        static let isBootProcessor: UInt8 = 1 << 1
    }

    private static let isaBus: UInt8 = 0
    private static let allLocalAPICs: UInt8 = 0xFF

    /// One per processor, the boot processor's first. The table cannot name ids above 254; such processors are left out.
    package let apicIDs: [UInt8]

    package let ioAPICIdentifier: UInt8
    package var localAPICAddress: UInt32 = 0xFEE0_0000
    package var ioAPICAddress: UInt32 = 0xFEC0_0000

    /// - Throws: `FirmwareTableError` if the boot processor's id is above 254, if there is no processor, or if the I/O APIC finds no id.
    package init(apicIDs: [UInt32]) throws(FirmwareTableError) {
        guard let first = apicIDs.first, first <= InterruptControllerIdentifier.highest else {
            throw FirmwareTableError("an MP table needs a boot processor with an APIC id of at most 254")
        }
        guard let free = InterruptControllerIdentifier.free(beside: apicIDs) else {
            throw FirmwareTableError("\(apicIDs.count) processors leave no APIC id for the I/O APIC")
        }
        self.apicIDs = apicIDs.filter { $0 <= InterruptControllerIdentifier.highest }.map { UInt8($0) }
        ioAPICIdentifier = free
    }

    /// Floating pointer and table, in bytes.
    package var size: Int {
        let others = 2 + MPTable.interruptCount + 2
        return MPTable.floatingPointerSize + MPTable.headerSize + apicIDs.count * MPTable.processorEntrySize
            + others * MPTable.otherEntrySize
    }

    /// The table at the end of base memory if its KiB suffices, else in the BIOS area; either block is whole, filled with zeros.
    ///
    /// - Throws: `FirmwareTableError` if it fits nowhere.
    package func place() throws(FirmwareTableError) -> PlacedBytes {
        if size <= MPTable.baseMemoryAreaSize {
            return placed(at: MPTable.baseMemoryArea, blockSize: MPTable.baseMemoryAreaSize)
        }
        guard size <= MPTable.firmwareAreaSize else {
            throw FirmwareTableError("an MP table of \(size) bytes does not fit into 64 KiB")
        }
        return placed(at: MPTable.firmwareArea, blockSize: size)
    }

    private func placed(at address: UInt64, blockSize: Int) -> PlacedBytes {
        var block = TableBytes()
        let table = UInt32(truncatingIfNeeded: address) &+ UInt32(MPTable.floatingPointerSize)
        block.append(floatingPointer(to: table))
        block.append(configurationTable())
        block.append(zeros: blockSize - block.count)
        return PlacedBytes(address: address, bytes: block.bytes)
    }

    private func floatingPointer(to table: UInt32) -> [UInt8] {
        var pointer = TableBytes()
        pointer.append(text: "_MP_", width: 4)
        pointer.append(table)
        pointer.append(UInt8(MPTable.floatingPointerSize / 16))
        pointer.append(MPTable.specificationRevision)
        pointer.append(UInt8(0))
        // No default configuration; virtual wire mode, as the PIC is wired to LINT0.
        pointer.append(zeros: 5)
        pointer.setChecksum(at: 10, over: 0..<MPTable.floatingPointerSize)
        return pointer.bytes
    }

    private func configurationTable() -> [UInt8] {
        var table = TableBytes()
        table.append(text: "PCMP", width: 4)
        table.append(UInt16(truncatingIfNeeded: size - MPTable.floatingPointerSize))
        table.append(MPTable.specificationRevision)
        table.append(UInt8(0))
        table.append(text: "STRATO", width: 8)
        table.append(text: "1.0", width: 12)
        table.append(UInt32(0))  // No OEM table.
        table.append(UInt16(0))
        table.append(UInt16(truncatingIfNeeded: apicIDs.count + 2 + MPTable.interruptCount + 2))
        table.append(localAPICAddress)
        table.append(UInt32(0))  // No extended table, and its checksum.
        appendProcessors(to: &table)
        appendBuses(to: &table)
        appendInterrupts(to: &table)
        table.setChecksum(at: 7, over: 0..<table.count)
        return table.bytes
    }

    private func appendProcessors(to table: inout TableBytes) {
        for (number, identifier) in apicIDs.enumerated() {
            table.append(EntryType.processor)
            table.append(identifier)
            table.append(MPTable.localAPICVersion)
            table.append(ProcessorFlag.isEnabled | (number == 0 ? ProcessorFlag.isBootProcessor : 0))
            table.append(MPTable.processorSignature)
            table.append(MPTable.processorFeatures)
            table.append(zeros: 8)
        }
    }

    private func appendBuses(to table: inout TableBytes) {
        let isUsable: UInt8 = 1
        table.append(EntryType.bus)
        table.append(MPTable.isaBus)
        table.append(text: "ISA", width: 6)
        table.append(EntryType.ioAPIC)
        table.append(ioAPICIdentifier)
        table.append(MPTable.ioAPICVersion)
        table.append(isUsable)
        table.append(ioAPICAddress)
    }

    private func appendInterrupts(to table: inout TableBytes) {
        for number in 0..<UInt8(MPTable.interruptCount) {
            appendInterrupt(
                EntryType.ioInterrupt, InterruptType.vectored, source: number, target: ioAPICIdentifier, pin: number, to: &table)
        }
        appendInterrupt(
            EntryType.localInterrupt, InterruptType.external, source: 0, target: apicIDs.first ?? 0, pin: 0, to: &table)
        appendInterrupt(
            EntryType.localInterrupt, InterruptType.nonMaskable, source: 0, target: MPTable.allLocalAPICs, pin: 1, to: &table)
    }

    /// Polarity and trigger conform to the bus: ISA's are edge-triggered and active high.
    private func appendInterrupt(
        _ entry: UInt8, _ type: UInt8, source: UInt8, target: UInt8, pin: UInt8, to table: inout TableBytes
    ) {
        table.append(entry)
        table.append(type)
        table.append(UInt16(0))
        table.append(MPTable.isaBus)
        table.append(source)
        table.append(target)
        table.append(pin)
    }
}
