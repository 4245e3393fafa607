// Commands, status bits and the query table of a flash chip with Intel's command set (JEDEC JESD68.01, Common Flash Interface;
// JEP137B, command set 0x0001; Intel StrataFlash Embedded Memory P30 data sheet, 306666, "command set" and "common flash
// interface").

extension PFlash {
    /// P30, table "command codes and definitions".
    enum Command {
        static let program: UInt8 = 0x40
        static let alternateProgram: UInt8 = 0x10
        static let bufferedProgram: UInt8 = 0xE8
        static let erase: UInt8 = 0x20
        static let clearStatus: UInt8 = 0x50
        static let lockSetup: UInt8 = 0x60
        static let readStatus: UInt8 = 0x70
        static let readIdentifier: UInt8 = 0x90
        static let readQuery: UInt8 = 0x98
        static let suspend: UInt8 = 0xB0
        /// Ends an erase or a buffered program; resumes; unlocks a block after `lockSetup`.
        static let confirm: UInt8 = 0xD0
        static let readArray: UInt8 = 0xFF
    }

    /// P30, table "status register description".
    enum Status {
        static let blockLocked: UInt8 = 1 << 1
        static let programError: UInt8 = 1 << 4
        static let eraseError: UInt8 = 1 << 5
        static let ready: UInt8 = 1 << 7
        /// A command that another had to follow was followed by something else.
        static let sequenceError = programError | eraseError
        static let implemented = blockLocked | sequenceError | ready
    }

    /// P30, table "device identifier codes": by the word's number inside a block.
    enum Identifier {
        static let manufacturerWord: UInt64 = 0
        static let deviceWord: UInt64 = 1
        static let lockWord: UInt64 = 2

        static let intel: UInt16 = 0x89
        /// 128 Mbit, top boot block, which is what drivers without CFI know.
        static let device: UInt16 = 0x18
        static let locked: UInt16 = 1 << 0
    }

    /// The query table (JESD68.01, 4.2 to 4.5), by word numbers from 0x10 on; each word is one byte.
    enum Query {
        static let firstWord: UInt64 = 0x10

        /// Bytes that one chip's write buffer holds, as the exponent of two: as many as an 8-bit chip can be told to expect.
        static let writeBufferExponent: UInt8 = 8

        /// Where the primary vendor's table begins.
        private static let vendorTable: UInt8 = 0x31

        /// The table for a bank of `size` bytes.
        static func table(size: UInt64, geometry: FlashGeometry) -> [UInt8] {
            let chips = UInt64(geometry.chipCount)
            let chipSize = size / chips
            let blockCount = size / geometry.sectorSize
            let blockSize = geometry.sectorSize / chips
            // The smallest power of two that is not less: flash images are seldom as large as a chip could be.
            let sizeExponent = chipSize <= 1 ? 0 : UInt64.bitWidth - (chipSize - 1).leadingZeroBitCount
            let interface: UInt8 = geometry.deviceWidth == 1 ? 0 : 1
            func low(_ value: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: value) }
            func high(_ value: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: value >> 8) }
            return [
                // 0x10: signature, command set 0x0001 with its table, no alternative one.
                0x51, 0x52, 0x59, 0x01, 0x00, vendorTable, 0x00, 0x00, 0x00, 0x00, 0x00,
                // 0x1B: supply voltage, 1.7 to 2.0 V; no separate programming voltage.
                0x17, 0x20, 0x00, 0x00,
                // 0x1F: typical times as powers of two: a word and a buffer in µs, a block in ms, no chip erase.
                0x08, 0x09, 0x0A, 0x00,
                // 0x23: maximum times as powers of two of the typical.
                0x01, 0x01, 0x02, 0x00,
                // 0x27: the chip's size, its interface, its write buffer.
                UInt8(sizeExponent), interface, 0x00, writeBufferExponent, 0x00,
                // 0x2C: one region: blocks less one, their size in 256 bytes.
                0x01, low(blockCount &- 1), high(blockCount &- 1), low(blockSize >> 8), high(blockSize >> 8),
                // 0x31: the vendor's table (P30, table "primary vendor-specific extended query"), version 1.0, no optional
                // feature: no suspend, no locks; what an image holds can be written whenever the image can.
                0x50, 0x52, 0x49, 0x31, 0x30, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                // 0x3D: supply 1.8 V, programming voltage none; no protection registers.
                0x18, 0x00, 0x00,
            ]
        }
    }
}
