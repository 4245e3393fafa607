#if arch(x86_64)

internal import StratoMemory

extension LinuxBoot {
    /// What goes where, decided and checked before the first byte is written.
    struct Plan: Equatable {
        /// Parts of the file and their places.
        var segments: [ELFKernel.Segment]

        /// What the kernel occupies until it has found out about its memory: nothing else may lie here.
        var occupied: Range<UInt64>

        var mode: BootState.EntryMode
        var entry: UInt64

        /// A bzImage's header and the address of its code.
        var header: [UInt8]?
        var code32Start: UInt32 = 0

        /// The highest address of an initial RAM disk's last byte.
        var ramdiskAddressMaximum = BootLayout.defaultRamdiskAddressMaximum

        /// Without the final zero, in bytes.
        var commandLineLimit = BootLayout.defaultCommandLineSize
    }

    /// Decides where a kernel goes, in RAM that begins at 0 and ends at `lowMemoryEnd`.
    static func plan(_ image: KernelImage, lowMemoryEnd: UInt64) throws(KernelFormatError) -> Plan {
        let plan =
            switch image {
            case .bzImage(let image): try self.plan(image)
            case .elf(let kernel): try self.plan(kernel)
            case .raw(let size): try self.plan(rawOfSize: size)
            case .arm64Image, .gzipARM64Image:
                throw KernelFormatError(
                    "\(KernelFormat.arm64Image.name) cannot run on x86_64; \(KernelFormat.arm64Image.advice)")
            }
        try check(plan, lowMemoryEnd: lowMemoryEnd)
        return plan
    }

    /// The kernel's own preference decides where a bzImage is loaded.
    ///
    /// A relocatable one is loaded at `pref_address`, as the protocol recommends: below it, the kernel would first move itself there, and
    /// guest memory would be touched that is not needed. Any other is loaded at `code32_start` and moves itself to
    /// `pref_address`. In both cases `init_size` bytes must be there from the address on that it runs at.
    private static func plan(_ image: BzImage) throws(KernelFormatError) -> Plan {
        let preferred = image.preferredAddress == 0 ? image.code32Start : image.preferredAddress
        let mask = image.kernelAlignment - 1
        let (sum, isPastEnd) = preferred.addingReportingOverflow(mask)
        guard !isPastEnd else {
            throw KernelFormatError("the bzImage is damaged: it wants to be at \(hexadecimal(preferred))")
        }
        let runAddress = image.isRelocatable ? sum & ~mask : preferred
        let loadAddress = image.isRelocatable ? runAddress : image.code32Start
        let loadEnd = loadAddress.addingReportingOverflow(image.codeSize)
        let runEnd = runAddress.addingReportingOverflow(image.initSize)
        guard !loadEnd.overflow, !runEnd.overflow, let code32Start = UInt32(exactly: loadAddress) else {
            throw KernelFormatError("the bzImage is damaged: it wants to be at \(hexadecimal(preferred))")
        }
        return Plan(
            segments: [
                ELFKernel.Segment(
                    fileOffset: image.codeOffset, fileSize: image.codeSize, address: loadAddress, memorySize: image.codeSize)
            ],
            occupied: min(loadAddress, runAddress)..<max(loadEnd.partialValue, runEnd.partialValue),
            mode: .long64,
            entry: loadAddress + BzImage.entryOffset,
            header: image.header,
            code32Start: code32Start,
            ramdiskAddressMaximum: image.ramdiskAddressMaximum,
            commandLineLimit: image.commandLineSize == 0 ? BootLayout.defaultCommandLineSize : image.commandLineSize)
    }

    /// A PVH note is what the kernel promises about its 32-bit entry, and so is taken if there is one. Otherwise `e_entry` is
    /// Linux's 64-bit entry, `startup_64` at its physical address, and has to be in what was loaded.
    private static func plan(_ kernel: ELFKernel) throws(KernelFormatError) -> Plan {
        guard let first = kernel.segments.first, let last = kernel.segments.last else {
            throw KernelFormatError("the ELF file has nothing to load")
        }
        let mode: BootState.EntryMode = kernel.pvhEntry == nil ? .long64 : .protected32PVH
        let entry = kernel.pvhEntry ?? kernel.entry
        guard kernel.hasCode(at: entry) else {
            let origin = kernel.pvhEntry == nil ? "entry" : "PVH entry"
            throw KernelFormatError("the ELF file's \(origin) \(hexadecimal(entry)) is not in what it loads")
        }
        return Plan(segments: kernel.segments, occupied: first.address..<last.end, mode: mode, entry: entry)
    }

    private static func plan(rawOfSize size: UInt64) throws(KernelFormatError) -> Plan {
        let (end, isPastEnd) = BootLayout.rawKernel.addingReportingOverflow(size)
        let (occupiedEnd, isTailPastEnd) = end.addingReportingOverflow(BootLayout.rawKernelTail)
        guard !isPastEnd, !isTailPastEnd else {
            throw KernelFormatError("a raw kernel of \(size) bytes cannot be loaded")
        }
        return Plan(
            segments: [
                ELFKernel.Segment(fileOffset: 0, fileSize: size, address: BootLayout.rawKernel, memorySize: size)
            ],
            occupied: BootLayout.rawKernel..<occupiedEnd, mode: .long64, entry: BootLayout.rawKernel)
    }

    private static func check(_ plan: Plan, lowMemoryEnd: UInt64) throws(KernelFormatError) {
        let occupied = plan.occupied
        guard occupied.lowerBound >= BootLayout.extendedMemory else {
            throw KernelFormatError(
                "the kernel wants to be at \(hexadecimal(occupied.lowerBound)), in the first MiB, which the machine needs")
        }
        // The 64-bit boot protocol demands that all of it is identity-mapped.
        guard plan.mode != .long64 || occupied.upperBound <= BootLayout.identityMapEnd else {
            throw KernelFormatError(
                "the kernel wants memory up to \(hexadecimal(occupied.upperBound)), but must lie in the first GiB")
        }
        guard occupied.upperBound <= lowMemoryEnd else {
            let needed = (occupied.upperBound >> 20) + (occupied.upperBound & 0xF_FFFF == 0 ? 0 : 1)
            throw KernelFormatError("the kernel needs memory up to \(needed) MiB; give the guest more with -m")
        }
    }
}

#endif
