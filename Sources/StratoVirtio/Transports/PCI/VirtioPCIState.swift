package import StratoHost

/// What the guest can tell of a virtio device on PCI beside what `PCIFunctionCore` keeps: registers, device and vectors.
package struct VirtioPCIState: Sendable, Hashable {
    package var registers: VirtioTransportState
    package var configurationVector: UInt16
    /// By queue.
    package var queueVectors: [UInt16]

    package init(registers: VirtioTransportState, configurationVector: UInt16, queueVectors: [UInt16]) {
        self.registers = registers
        self.configurationVector = configurationVector
        self.queueVectors = queueVectors
    }

    /// Bytes that the registers' state may have, with the device's own.
    private static let registersLimit = 1 << 17

    /// Appends the state to that of the function.
    package func encode(into encoder: inout StateEncoder) {
        encoder.put(registers.encoded())
        encoder.put(configurationVector)
        encoder.put(UInt16(truncatingIfNeeded: queueVectors.count))
        for vector in queueVectors { encoder.put(vector) }
    }

    /// Reads what `encode` gave: outside data.
    ///
    /// - Throws: `StateError`.
    package init(from decoder: inout StateDecoder) throws(StateError) {
        let bytes = try decoder.take("length of the registers' state", atMost: VirtioPCIState.registersLimit)
        registers = try VirtioTransportState(decoding: bytes)
        configurationVector = try decoder.take()
        let count = Int(try decoder.take(UInt16.self))
        guard count == registers.queues.count else { throw .invalid("number of queue vectors") }
        queueVectors = []
        for _ in 0..<count { queueVectors.append(try decoder.take()) }
    }
}
