#if arch(x86_64)

package import StratoFirmwareTables
package import StratoMemory

/// Starts a Linux kernel without firmware: puts it, its RAM disk and what it is told into guest memory.
///
/// Where everything is, and what the zero page says, is StratoVirt's layout (`BootLayout`), within Linux's boot protocol
/// (Documentation/arch/x86/boot.rst and zero-page.rst) and PVH. The same value serves for every reset of a machine.
package struct LinuxBoot: Sendable {
    package let kernel: BootFile
    package let ramdisk: BootFile?
    package let commandLine: String

    /// Tables of the machine, to be written where they say.
    package let tables: [PlacedBytes]

    /// Where among them the RSDP is, nil without ACPI.
    package let rsdpAddress: UInt64?

    /// What beside the first MiB the kernel is told to leave alone.
    package var reservedRanges: [GuestRange] = []

    /// - Parameters:
    ///   - kernel: a bzImage, an ELF vmlinux or a raw kernel.
    ///   - ramdisk: the initial RAM disk, nil for none.
    ///   - commandLine: without a zero byte.
    ///   - tables: of the machine, all in the first MiB, in the EBDA or above 0xD0000.
    ///   - rsdpAddress: where among the tables the RSDP is, nil without ACPI.
    package init(
        kernel: BootFile, ramdisk: BootFile? = nil, commandLine: String, tables: [PlacedBytes] = [],
        rsdpAddress: UInt64? = nil
    ) {
        self.kernel = kernel
        self.ramdisk = ramdisk
        self.commandLine = commandLine
        self.tables = tables
        self.rsdpAddress = rsdpAddress
    }

    /// A microVM's boot: with an MP table, and with ACPI if the machine has it.
    ///
    /// - Parameters:
    ///   - kernel: a bzImage, an ELF vmlinux or a raw kernel.
    ///   - ramdisk: the initial RAM disk, nil for none.
    ///   - commandLine: without a zero byte.
    ///   - apicIDs: one per processor, the boot processor's first.
    ///   - acpi: nil leaves ACPI out.
    /// - Throws: `BootError` for more processors than the tables can name.
    package init(
        microVM kernel: BootFile, ramdisk: BootFile?, commandLine: String, apicIDs: [UInt32], acpi: MicroVMTables?
    ) throws(BootError) {
        var tables: [PlacedBytes] = []
        do throws(FirmwareTableError) {
            tables.append(try MPTable(apicIDs: apicIDs).place())
            if let acpi { tables += try acpi.place() }
        } catch {
            throw BootError("-smp: \(error)")
        }
        self.init(
            kernel: kernel, ramdisk: ramdisk, commandLine: commandLine, tables: tables,
            rsdpAddress: acpi == nil ? nil : MicroVMTables.rsdpAddress)
    }

    /// Puts everything into guest memory, at the start of a machine and at each of its resets.
    ///
    /// Nothing is written before all files have been read as far as is needed to know that they fit.
    ///
    /// - Parameters:
    ///   - memory: RAM from 0 on, at least to the end of the kernel.
    ///   - isMemoryFresh: no guest has run in it yet, so that what shall be zero need not be written.
    /// - Returns: how the boot processor starts.
    /// - Throws: `BootError` naming the option and the file.
    package func place(in memory: GuestMemory, isMemoryFresh: Bool) throws(BootError) -> BootState {
        guard let low = memory.ranges.first, low.base.value == 0, low.size > BootLayout.extendedMemory else {
            throw BootError("-m: a kernel needs memory from address 0 to above 1 MiB")
        }
        let image = try KernelImage.inspect(kernel)
        let plan: Plan
        do {
            plan = try LinuxBoot.plan(image, lowMemoryEnd: low.size)
        } catch {
            throw kernel.error(error)
        }
        let commandLine = try commandLineBytes(limit: plan.commandLineLimit)
        let ramdiskAddress = try ramdiskAddress(plan, lowMemoryEnd: low.size)

        for segment in plan.segments {
            try kernel.load(offset: segment.fileOffset, count: segment.fileSize, into: memory, at: segment.address)
            let rest = segment.memorySize - segment.fileSize
            if !isMemoryFresh, rest > 0 { try clear(memory, from: segment.address + segment.fileSize, count: rest) }
        }
        if let ramdisk, let ramdiskAddress {
            try ramdisk.load(offset: 0, count: ramdisk.size, into: memory, at: ramdiskAddress)
        }
        try write(commandLine, to: memory, at: BootLayout.commandLine)
        for table in tables { try write(table.bytes, to: memory, at: table.address) }
        try writeBaseMemoryWords(to: memory)
        let map = MemoryMap.entries(memory.ranges, reserved: reservedRanges)
        switch plan.mode {
        case .long64:
            try writeDescriptorTables(BootLayout.gdtEntries, to: memory)
            try writePageTables(to: memory)
            try write(zeroPage(plan, ramdiskAddress, map), to: memory, at: BootLayout.zeroPage)
            return .long64(entry: plan.entry)
        case .protected32PVH:
            try writeDescriptorTables(BootLayout.gdtEntriesPVH, to: memory)
            try write(startInfo(ramdiskAddress, map), to: memory, at: BootLayout.startInfo)
            return .protected32PVH(entry: plan.entry)
        }
    }

    // MARK: Command line and RAM disk

    /// The command line with its final zero.
    private func commandLineBytes(limit: UInt64) throws(BootError) -> [UInt8] {
        let limit = min(limit, BootLayout.commandLineRoom)
        let bytes = Array(commandLine.utf8)
        guard !bytes.contains(0) else {
            throw BootError("-append: the kernel command line has a zero byte in it")
        }
        guard UInt64(bytes.count) <= limit else {
            throw BootError(
                "-append: the kernel command line has \(bytes.count) bytes; the kernel \(kernel.path) takes at most \(limit)")
        }
        return bytes + [0]
    }

    private func ramdiskAddress(_ plan: Plan, lowMemoryEnd: UInt64) throws(BootError) -> UInt64? {
        guard let ramdisk else { return nil }
        let ceiling = min(lowMemoryEnd, plan.ramdiskAddressMaximum + 1)
        let address = RamdiskPlacement.address(
            size: ramdisk.size, floor: BootLayout.extendedMemory, ceiling: ceiling, kernel: plan.occupied)
        guard let address else {
            throw ramdisk.error(
                "its \(ramdisk.size) bytes do not fit beside the kernel below \(ceiling >> 20) MiB; "
                    + "give the guest more memory with -m, or use a smaller file")
        }
        return address
    }

    // MARK: Structures

    private func zeroPage(_ plan: Plan, _ ramdiskAddress: UInt64?, _ map: [MemoryMap.Entry]) -> [UInt8] {
        var page = ZeroPage(header: plan.header)
        if plan.header != nil { page.setCode32Start(plan.code32Start) }
        page.setCommandLine(at: UInt32(truncatingIfNeeded: BootLayout.commandLine))
        // Both lie below the end of low RAM, which is below 4 GiB.
        if let ramdisk, let ramdiskAddress {
            page.setRamdisk(at: UInt32(truncatingIfNeeded: ramdiskAddress), size: UInt32(truncatingIfNeeded: ramdisk.size))
        } else {
            page.setRamdisk(at: 0, size: 0)
        }
        if let rsdpAddress { page.setRSDP(at: rsdpAddress) }
        page.setMemoryMap(map)
        return page.bytes
    }

    private func startInfo(_ ramdiskAddress: UInt64?, _ map: [MemoryMap.Entry]) -> [UInt8] {
        var info = StartInfo()
        info.commandLine = BootLayout.commandLine
        info.rsdp = rsdpAddress ?? 0
        if let ramdisk, let ramdiskAddress { info.ramdisk = (ramdiskAddress, ramdisk.size) }
        info.memoryMap = map
        return info.encode(at: BootLayout.startInfo)
    }

    private func writeDescriptorTables(_ entries: [UInt64], to memory: GuestMemory) throws(BootError) {
        var table = TableBytes()
        for entry in entries { table.append(entry) }
        try write(table.bytes, to: memory, at: BootLayout.gdt)
        try write([UInt8](repeating: 0, count: 8), to: memory, at: BootLayout.idt)
    }

    /// One page directory of 2 MiB pages, and what leads to it (Intel SDM, volume 3A, 4.5).
    private func writePageTables(to memory: GuestMemory) throws(BootError) {
        let presentAndWritable: UInt64 = 0b11
        let isLargePage: UInt64 = 1 << 7
        let largePageSize: UInt64 = 2 << 20
        let parents = [
            (BootLayout.pageMapLevel4, BootLayout.pageDirectoryPointers),
            (BootLayout.pageDirectoryPointers, BootLayout.pageDirectory),
        ]
        for (address, child) in parents {
            var table = TableBytes()
            table.append(child | presentAndWritable)
            table.append(zeros: BootLayout.pageSize - table.count)
            try write(table.bytes, to: memory, at: address)
        }
        var directory = TableBytes()
        for address in stride(from: 0, to: BootLayout.identityMapEnd, by: Int(largePageSize)) {
            directory.append(address | presentAndWritable | isLargePage)
        }
        try write(directory.bytes, to: memory, at: BootLayout.pageDirectory)
    }

    /// What a BIOS would leave in its data area: by it the MP table is found where the specification says.
    private func writeBaseMemoryWords(to memory: GuestMemory) throws(BootError) {
        var segment = TableBytes()
        segment.append(UInt16(BootLayout.ebda >> 4))
        try write(segment.bytes, to: memory, at: BootLayout.ebdaSegmentWord)
        var kibibytes = TableBytes()
        kibibytes.append(UInt16(BootLayout.ebda >> 10))
        try write(kibibytes.bytes, to: memory, at: BootLayout.baseMemoryWord)
    }

    private func write(_ bytes: [UInt8], to memory: GuestMemory, at address: UInt64) throws(BootError) {
        do {
            try memory.write(bytes, at: GuestAddress(address))
        } catch {
            throw BootError("-m: \(error)")
        }
    }

    private func clear(_ memory: GuestMemory, from address: UInt64, count: UInt64) throws(BootError) {
        guard let amount = Int(exactly: count), let buffer = memory.buffer(at: GuestAddress(address), count: amount) else {
            throw BootError("-m: no guest memory at \(hexadecimal(address)) for \(count) bytes")
        }
        buffer.fill(0)
    }
}

#endif
