// Registers and bits of the PrimeCell UART PL011 (ARM DDI 0183G, chapter 3).

extension PL011 {
    /// Offsets (table 3-1).
    enum Register {
        static let data: UInt64 = 0x000
        /// UARTRSR when read, UARTECR when written.
        static let receiveStatus: UInt64 = 0x004
        static let flags: UInt64 = 0x018
        static let lowPowerCounter: UInt64 = 0x020
        static let integerDivisor: UInt64 = 0x024
        static let fractionalDivisor: UInt64 = 0x028
        static let lineControl: UInt64 = 0x02C
        static let control: UInt64 = 0x030
        static let interruptLevels: UInt64 = 0x034
        static let interruptMask: UInt64 = 0x038
        static let rawInterrupts: UInt64 = 0x03C
        static let maskedInterrupts: UInt64 = 0x040
        static let interruptClear: UInt64 = 0x044
        static let directMemoryAccess: UInt64 = 0x048
        /// Not the PL011's: StratoVirt's guests mark points of their start here.
        static let bootMarker: UInt64 = 0xF00
        static let identification: UInt64 = 0xFE0
    }

    /// UARTPeriphID0...3 and UARTPCellID0...3 (3.3.15, 3.3.16): revision r1p5, which drivers know to have FIFOs of 32 bytes.
    static let identification: InlineArray<8, UInt8> = [0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1]

    /// UARTFR (3.3.3).
    enum Flags {
        static let clearToSend: UInt16 = 1 << 0
        static let dataSetReady: UInt16 = 1 << 1
        static let dataCarrierDetect: UInt16 = 1 << 2
        static let receiverEmpty: UInt16 = 1 << 4
        static let receiverFull: UInt16 = 1 << 6
        static let transmitterEmpty: UInt16 = 1 << 7
        static let ring: UInt16 = 1 << 8
        /// The other end is there and ready.
        static let connected = clearToSend | dataSetReady | dataCarrierDetect
        static let lines = connected | ring
    }

    /// UARTLCR_H (3.3.7).
    enum LineControl {
        static let enableFIFOs: UInt16 = 1 << 4
        static let implemented: UInt16 = 0xFF
    }

    /// UARTCR (3.3.8).
    enum Control {
        static let loopback: UInt16 = 1 << 7
        static let transmitEnable: UInt16 = 1 << 8
        static let receiveEnable: UInt16 = 1 << 9
        static let dataTransmitReady: UInt16 = 1 << 10
        static let requestToSend: UInt16 = 1 << 11
        static let out1: UInt16 = 1 << 12
        static let out2: UInt16 = 1 << 13
        /// Bits 3...6 are reserved.
        static let implemented: UInt16 = 0xFF87
        static let initial = transmitEnable | receiveEnable
    }

    /// UARTIFLS (3.3.9).
    enum InterruptLevels {
        static let implemented: UInt16 = 0x3F
        static let initial: UInt16 = 0x12
        static let receiveShift: UInt16 = 3
        /// Bytes of 32, by the select field; what is reserved counts as the highest.
        static let receive: InlineArray<8, Int> = [4, 8, 16, 24, 28, 28, 28, 28]
    }

    /// UARTIMSC, UARTRIS, UARTMIS and UARTICR (3.3.10 to 3.3.13).
    enum Interrupts {
        static let ring: UInt16 = 1 << 0
        static let clearToSend: UInt16 = 1 << 1
        static let dataCarrierDetect: UInt16 = 1 << 2
        static let dataSetReady: UInt16 = 1 << 3
        static let receive: UInt16 = 1 << 4
        static let transmit: UInt16 = 1 << 5
        static let receiveTimeout: UInt16 = 1 << 6
        static let overrun: UInt16 = 1 << 10
        static let implemented: UInt16 = 0x7FF
    }

    /// Bits beside a byte in UARTDR and UARTRSR (3.3.1, 3.3.2).
    enum ReceiveStatus {
        static let overrun: UInt16 = 1 << 3
        /// In UARTDR, from bit 8 on.
        static let dataShift: UInt16 = 8
    }

    /// UARTDMACR (3.3.14).
    enum DirectMemoryAccess {
        static let implemented: UInt16 = 0x7
    }
}
