#if arch(arm64)

package import StratoFirmwareTables
package import StratoMemory

/// The registers that the boot processor starts with; the others wait for PSCI's CPU_ON.
package struct BootState: Sendable, Equatable {
    package var programCounter: UInt64

    /// X0; X1...X3 are zero.
    package var deviceTree: UInt64

    package init(programCounter: UInt64, deviceTree: UInt64) {
        self.programCounter = programCounter
        self.deviceTree = deviceTree
    }
}

/// Starts a Linux kernel without firmware: puts it, its RAM disk and the device tree into guest memory (Linux,
/// Documentation/arch/arm64/booting.rst). The same value serves for every reset of a machine.
package struct LinuxBoot: Sendable {
    package let kernel: BootFile
    package let ramdisk: BootFile?

    /// Describes the machine. The RAM disk's place and the seed are filled in at each start.
    package let tree: ARMMachineTree

    private let seed: @Sendable () -> [UInt8]

    /// What fills the kernel's generator: a block of its hash.
    package static let seedSize = 64

    /// - Parameters:
    ///   - kernel: an arm64 Image, as it is or in a gzip file.
    ///   - ramdisk: the initial RAM disk, nil for none.
    ///   - tree: of the machine, with the kernel's command line.
    ///   - seed: gives random bytes, `seedSize` of them or none, for each start.
    package init(kernel: BootFile, ramdisk: BootFile?, tree: ARMMachineTree, seed: @escaping @Sendable () -> [UInt8]) {
        self.kernel = kernel
        self.ramdisk = ramdisk
        self.tree = tree
        self.seed = seed
    }

    /// Room for the device tree at the start of RAM, and what kernels are aligned to.
    static let kernelAlignment: UInt64 = 2 << 20

    /// The kernel and its RAM disk lie in a window of this size, whose start is a multiple of 1 GiB.
    static let windowSize: UInt64 = 32 << 30

    /// Puts everything into guest memory, at the start of a machine and at each of its resets.
    ///
    /// Nothing is written before all files have been read as far as is needed to know that they fit. A kernel clears what it
    /// wants to be zero itself.
    ///
    /// - Parameter memory: RAM, whose first range begins at a multiple of 1 GiB.
    /// - Returns: how the boot processor starts.
    /// - Throws: `BootError` naming the option and the file.
    package func place(in memory: GuestMemory) throws(BootError) -> BootState {
        guard let ram = memory.ranges.first, ram.size > LinuxBoot.kernelAlignment else {
            throw BootError("-m: a kernel needs more than 2 MiB of memory")
        }
        let plan = try plan(ram)
        let ramdiskRange = try ramdiskRange(plan, ram)
        let blob = try encodedTree(ramdiskRange)

        if plan.isPacked {
            try unpack(plan, into: memory)
        } else {
            try kernel.load(offset: 0, count: kernel.size, into: memory, at: plan.occupied.lowerBound)
        }
        if let ramdisk, let ramdiskRange {
            try ramdisk.load(offset: 0, count: ramdisk.size, into: memory, at: ramdiskRange.base)
        }
        do {
            try memory.write(blob, at: ram.base)
        } catch {
            throw BootError("-m: \(error)")
        }
        return BootState(programCounter: plan.occupied.lowerBound, deviceTree: ram.base.value)
    }

    /// Where the kernel goes.
    struct Plan: Equatable {
        /// From the kernel's first byte, at which it is entered, to the end of what it needs.
        var occupied: Range<UInt64>
        var isPacked: Bool
    }

    private func plan(_ ram: GuestRange) throws(BootError) -> Plan {
        do {
            switch try KernelImage.inspect(kernel) {
            case .arm64Image(let image):
                return try LinuxBoot.plan(image, contentSize: kernel.size, isPacked: false, ram)
            case .gzipARM64Image(let image):
                return try LinuxBoot.plan(image, contentSize: nil, isPacked: true, ram)
            case .bzImage: throw KernelFormatError(LinuxBoot.foreign(.bzImage))
            case .elf:
                throw KernelFormatError(
                    "\(KernelFormat.elf.name) is not what kernels are started from on aarch64; use an arm64 Image")
            case .raw:
                throw KernelFormatError("not an arm64 Image: its magic number is missing")
            }
        } catch let error as BootError {
            throw error
        } catch {
            throw kernel.error("\(error)")
        }
    }

    private static func foreign(_ format: KernelFormat) -> String {
        "\(format.name) cannot run on aarch64; \(format.advice)"
    }

    /// Decides where an image goes: as low as it can be, behind the room for the device tree.
    static func plan(
        _ image: ARM64Image, contentSize: UInt64?, isPacked: Bool, _ ram: GuestRange
    ) throws(KernelFormatError) -> Plan {
        let size = try image.memorySize(contentSize: contentSize)
        let start = (ram.base.value + kernelAlignment).addingReportingOverflow(image.textOffset)
        let end = start.partialValue.addingReportingOverflow(size)
        guard !start.overflow, !end.overflow else {
            throw KernelFormatError("the arm64 Image is damaged: it wants to be at offset \(hexadecimal(image.textOffset))")
        }
        let ramEnd = ram.base.value + ram.size
        guard end.partialValue <= ramEnd else {
            let needed = (end.partialValue - ram.base.value + 0xF_FFFF) >> 20
            throw KernelFormatError("the kernel needs \(needed) MiB of memory; give the guest more with -m")
        }
        return Plan(occupied: start.partialValue..<end.partialValue, isPacked: isPacked)
    }

    private func ramdiskRange(_ plan: Plan, _ ram: GuestRange) throws(BootError) -> PhysicalRange? {
        guard let ramdisk else { return nil }
        let ceiling = min(ram.base.value + ram.size, ram.base.value + LinuxBoot.windowSize)
        let address = RamdiskPlacement.address(
            size: ramdisk.size, floor: ram.base.value + LinuxBoot.kernelAlignment, ceiling: ceiling, kernel: plan.occupied)
        guard let address else {
            throw ramdisk.error(
                "its \(ramdisk.size) bytes do not fit beside the kernel; give the guest more memory with -m, or use a smaller file"
            )
        }
        return PhysicalRange(base: address, size: ramdisk.size)
    }

    private func encodedTree(_ ramdisk: PhysicalRange?) throws(BootError) -> [UInt8] {
        var tree = tree
        tree.ramdisk = ramdisk
        tree.randomSeed = seed()
        guard !tree.commandLine.utf8.contains(0) else {
            throw BootError("-append: the kernel command line has a zero byte in it")
        }
        guard tree.commandLine.utf8.count < LinuxBoot.commandLineSize else {
            throw BootError(
                "-append: the kernel command line has \(tree.commandLine.utf8.count) bytes; an arm64 kernel takes at most "
                    + "\(LinuxBoot.commandLineSize - 1)")
        }
        do {
            return try tree.tree().encode(limit: Int(LinuxBoot.kernelAlignment))
        } catch {
            throw BootError("\(error)")
        }
    }

    /// COMMAND_LINE_SIZE of arch/arm64/include/uapi/asm/setup.h, with the final zero.
    private static let commandLineSize = 2048

    private func unpack(_ plan: Plan, into memory: GuestMemory) throws(BootError) {
        var reader = GzipReader(try FileWindow(kernel))
        var address = plan.occupied.lowerBound
        let kernel = kernel
        _ = try reader.unpack { piece throws(BootError) in
            guard UInt64(piece.count) <= plan.occupied.upperBound - address else {
                throw kernel.error("the arm64 Image is damaged: it has more bytes than its header says that it needs")
            }
            do {
                try memory.write(piece, at: GuestAddress(address))
            } catch {
                throw kernel.error("\(error)")
            }
            address += UInt64(piece.count)
        }
    }
}

#endif
