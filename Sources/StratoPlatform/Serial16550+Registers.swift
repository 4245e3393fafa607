// Registers and bits of the PC16550D (National Semiconductor data sheet, June 1995, table II and section 8).

extension Serial16550 {
    /// Offsets from the first port (table II). Two registers share a port where one is read and the other written, or where
    /// DLAB chooses.
    enum Port {
        /// RBR when read, THR when written, DLL with DLAB.
        static let data: UInt64 = 0
        /// IER, DLM with DLAB.
        static let interruptEnable: UInt64 = 1
        /// IIR when read, FCR when written.
        static let interruptIdentification: UInt64 = 2
        static let lineControl: UInt64 = 3
        static let modemControl: UInt64 = 4
        static let lineStatus: UInt64 = 5
        static let modemStatus: UInt64 = 6
        static let scratch: UInt64 = 7
    }

    /// 8.6.
    enum InterruptEnable {
        static let receivedData: UInt8 = 1 << 0
        static let transmitterEmpty: UInt8 = 1 << 1
        static let lineStatus: UInt8 = 1 << 2
        static let modemStatus: UInt8 = 1 << 3
        static let implemented: UInt8 = 0x0F
    }

    /// 8.5 and table IV, the highest priority first.
    enum InterruptIdentification {
        static let lineStatus: UInt8 = 0x06
        static let receivedData: UInt8 = 0x04
        /// Fewer bytes than the trigger level, and no more are coming.
        static let characterTimeout: UInt8 = 0x0C
        static let transmitterEmpty: UInt8 = 0x02
        static let modemStatus: UInt8 = 0x00
        static let none: UInt8 = 0x01
        static let fifoEnabled: UInt8 = 0xC0
    }

    /// 8.4.
    enum FIFOControl {
        static let enable: UInt8 = 1 << 0
        static let resetReceiver: UInt8 = 1 << 1
        /// Enable, DMA mode and trigger level: the reset bits clear themselves.
        static let stored: UInt8 = 0xC9
        /// By the top two bits.
        static let triggerLevels: InlineArray<4, Int> = [1, 4, 8, 14]
    }

    /// 8.1.
    enum LineControl {
        static let divisorLatchAccess: UInt8 = 1 << 7
    }

    /// 8.7.
    enum ModemControl {
        static let dataTerminalReady: UInt8 = 1 << 0
        static let requestToSend: UInt8 = 1 << 1
        static let out1: UInt8 = 1 << 2
        static let out2: UInt8 = 1 << 3
        static let loopback: UInt8 = 1 << 4
        static let implemented: UInt8 = 0x1F
    }

    /// 8.3.
    enum LineStatus {
        static let dataReady: UInt8 = 1 << 0
        static let overrun: UInt8 = 1 << 1
        static let transmitterHoldingEmpty: UInt8 = 1 << 5
        static let transmitterEmpty: UInt8 = 1 << 6
        /// Overrun, parity, framing, break.
        static let errors: UInt8 = 0x1E
    }

    /// 8.8.
    enum ModemStatus {
        static let deltaClearToSend: UInt8 = 1 << 0
        static let deltaDataSetReady: UInt8 = 1 << 1
        static let trailingEdgeRing: UInt8 = 1 << 2
        static let deltaCarrierDetect: UInt8 = 1 << 3
        static let clearToSend: UInt8 = 1 << 4
        static let dataSetReady: UInt8 = 1 << 5
        static let ring: UInt8 = 1 << 6
        static let carrierDetect: UInt8 = 1 << 7
        static let deltas: UInt8 = 0x0F
        static let lines: UInt8 = 0xF0
        /// What a null modem to a host that always listens shows.
        static let connected = clearToSend | dataSetReady | carrierDetect
    }
}
