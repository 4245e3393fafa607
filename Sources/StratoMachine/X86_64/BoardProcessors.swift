#if arch(x86_64)
internal import StratoKVM
internal import StratoMemory
internal import Synchronization

/// The virtual CPUs of a board whose interrupt controllers are in KVM: made, identified, and put back to where they began.
final class BoardProcessors: Sendable {
    /// What every reset goes back to: the state before the first instruction.
    private struct InitialState {
        var controllers: InterruptControllerSnapshot
        var processors: [ProcessorSnapshot]
    }

    /// One for each virtual CPU, in the order of their numbers.
    let apicIDs: [UInt32]

    private let machine: KVMVirtualMachine
    private let topology: ProcessorIdentification.Topology
    private let initialState = Mutex<InitialState?>(nil)

    /// Asks the host whether it can have these virtual CPUs, and memory that far up.
    ///
    /// - Parameters:
    ///   - machine: without virtual CPUs.
    ///   - count: of the virtual CPUs that there are from the start.
    ///   - layout: how they are arranged.
    /// - Throws: `MachineError` naming the option.
    init(_ machine: KVMVirtualMachine, count: Int, layout: ProcessorLayout) throws(MachineError) {
        let layout = layout.visible
        let topology = ProcessorIdentification.Topology(
            sockets: layout.sockets, dies: layout.dies, cores: layout.cores, threads: layout.threads)
        self.machine = machine
        self.topology = topology
        apicIDs = (0..<count).map { topology.apicID($0) }
        try checkLimits()
    }

    private func checkLimits() throws(MachineError) {
        let limit = machine.system.maximumProcessorCount
        guard apicIDs.count <= limit else {
            throw MachineError("-smp: KVM on this host runs at most \(limit) virtual CPUs in a machine, not \(apicIDs.count)")
        }
        // The I/O APIC in KVM addresses 8 bits of an APIC id, of which the last is the broadcast.
        if let highest = apicIDs.max(), highest > 254 {
            throw MachineError(
                "-smp: this arrangement needs APIC ids up to \(highest), of which KVM's I/O APIC reaches 254; make the counts "
                    + "of dies, cores and threads powers of two, or leave them out")
        }
        // Every processor with long mode has at least 36 bits; only more is worth asking for.
        guard let last = machine.memory.ranges.last?.last.value, last >> 36 != 0 else { return }
        let bits = try physicalAddressBits()
        guard last >> UInt64(bits) == 0 else {
            throw MachineError(
                "-m: this host's KVM addresses \(bits) bits, and the machine's memory would end at 0x"
                    + String(last, radix: 16) + "; give it less")
        }
    }

    /// The width of the addresses that a guest can have.
    ///
    /// - Throws: `MachineError`.
    func physicalAddressBits() throws(MachineError) -> Int {
        try building { try machine.system.supportedIdentification().physicalAddressBits }
    }

    /// Makes the virtual CPUs, identified but not started.
    ///
    /// - Parameter hasFirmware: leaves to firmware what it does before it starts a system.
    /// - Throws: `MachineError`.
    func make(hasFirmware: Bool) throws(MachineError) -> [KVMProcessor] {
        try building {
            let identification = try machine.system.supportedIdentification()
            let hasDeadline = machine.system.hasTSCDeadlineTimer
            return try apicIDs.enumerated().map { index, apicID in
                let processor = try machine.makeProcessor(index: Int(apicID))
                try processor.setIdentification(
                    identification.entries(for: index, of: topology, hasTSCDeadline: hasDeadline))
                if !hasFirmware {
                    try processor.wireLocalInterrupts()
                    try processor.enableMemoryTypes()
                }
                return processor
            }
        }
    }

    /// Notes the state that `restore` goes back to.
    ///
    /// - Throws: `MachineError`.
    func capture(_ processors: [KVMProcessor]) throws(MachineError) {
        try building {
            let initial = InitialState(
                controllers: try machine.snapshotInterruptController(),
                processors: try processors.map { try $0.snapshot() })
            initialState.withLock { $0 = initial }
        }
    }

    /// Puts processors and interrupt controllers back. No virtual CPU runs.
    ///
    /// - Throws: `MachineError`.
    func restore(_ processors: [KVMProcessor]) throws(MachineError) {
        guard let initial = initialState.withLock({ $0 }) else { throw MachineError("the machine was not loaded") }
        try building {
            try machine.restoreInterruptController(initial.controllers)
            for (processor, snapshot) in zip(processors, initial.processors) { try processor.restore(snapshot) }
        }
    }
}
#endif
