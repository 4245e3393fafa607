// Keys and layouts of QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg.rst).

extension FirmwareConfiguration {
    /// The number of an item (fw_cfg.rst, "selector (control) register").
    package struct Key: RawRepresentable, Hashable, Sendable {
        package let rawValue: UInt16

        package init(rawValue: UInt16) { self.rawValue = rawValue }

        package static let signature = Key(rawValue: 0x0000)
        package static let identifier = Key(rawValue: 0x0001)
        package static let uuid = Key(rawValue: 0x0002)
        package static let ramSize = Key(rawValue: 0x0003)
        package static let noGraphic = Key(rawValue: 0x0004)
        package static let processorCount = Key(rawValue: 0x0005)
        package static let kernelAddress = Key(rawValue: 0x0007)
        package static let kernelSize = Key(rawValue: 0x0008)
        package static let initialRAMDiskAddress = Key(rawValue: 0x000A)
        package static let initialRAMDiskSize = Key(rawValue: 0x000B)
        package static let bootMenu = Key(rawValue: 0x000E)
        package static let maximumProcessorCount = Key(rawValue: 0x000F)
        package static let kernelEntry = Key(rawValue: 0x0010)
        package static let kernelData = Key(rawValue: 0x0011)
        package static let initialRAMDiskData = Key(rawValue: 0x0012)
        package static let commandLineAddress = Key(rawValue: 0x0013)
        package static let commandLineSize = Key(rawValue: 0x0014)
        package static let commandLineData = Key(rawValue: 0x0015)
        package static let setupAddress = Key(rawValue: 0x0016)
        package static let setupSize = Key(rawValue: 0x0017)
        package static let setupData = Key(rawValue: 0x0018)
        package static let fileDirectory = Key(rawValue: 0x0019)
        /// x86: whether the interval timer's interrupt is on pin 2 of the I/O APIC, 32 bits.
        package static let timerInterruptOverride = Key(rawValue: 0x8002)

        /// The first named file (fw_cfg.rst, "all other data items").
        static let firstFile: UInt16 = 0x0020
        /// Keys with this bit are the architecture's own.
        static let architectureLocal: UInt16 = 1 << 15
        /// Once chose writing through the data register, which is no more; the item is the same with and without.
        static let writeChannel: UInt16 = 1 << 14
        /// Larger than any key here: a guest may walk through all of them.
        static let lastFile: UInt16 = writeChannel - 1
    }

    /// FW_CFG_ID (fw_cfg.rst, "revision / feature bitmap").
    enum Feature {
        static let traditional: UInt32 = 1 << 0
        static let dma: UInt32 = 1 << 1
    }

    /// FWCfgFile (fw_cfg.rst, "file directory").
    enum Directory {
        /// Of a name with its terminating zero, in bytes.
        static let nameSize = 56
        static let entrySize = 64
        static let headerSize = 4
    }

    /// FWCfgDmaAccess (fw_cfg.rst, "guest-side DMA interface").
    enum Transfer {
        static let descriptorSize = 16
        static let lengthOffset = 4
        static let addressOffset = 8

        static let error: UInt32 = 1 << 0
        static let read: UInt32 = 1 << 1
        static let skip: UInt32 = 1 << 2
        static let select: UInt32 = 1 << 3
        static let write: UInt32 = 1 << 4
        static let keyShift: UInt32 = 16

        /// Zeros that one transfer appends at most to what is left of an item. Firmware asks for what there is; a request
        /// for more than this is one for keeping the host busy.
        static let paddingLimit: UInt32 = 1 << 20
    }

    /// The bytes of the DMA address register when it is read: "QEMU CFG".
    static let dmaSignature: InlineArray<8, UInt8> = [0x51, 0x45, 0x4D, 0x55, 0x20, 0x43, 0x46, 0x47]

    /// The bytes of item 0: "QEMU".
    static let signature: [UInt8] = [0x51, 0x45, 0x4D, 0x55]
}
