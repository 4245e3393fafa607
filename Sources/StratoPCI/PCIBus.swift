internal import Synchronization

/// The functions on one PCI bus.
///
/// A function is there for the guest when its device has a function 0 and, unless it is that one, this says that it has
/// others (PCI Local Bus 3.0, 3.2.2.3.4).
package final class PCIBus: Sendable {
    /// What a bus has from the bridge above.
    struct Connection: Sendable {
        var map: PCIAddressMap
        var scope: PCIAddressMap.Scope
        var interrupts: PCIInterruptRouter?
        var interruptTurn: Int
    }

    /// Functions of a device.
    private static let functionCount = 8

    private struct State {
        var functions: [(any PCIFunction)?]
        /// Those of the functions that are bridges, found once and not for each access.
        var bridges: [any PCIBridge] = []
        var connection: Connection?
    }

    /// `pcie.0`, or the bridge's id.
    package let name: String
    package let number: PCIBusNumber
    /// Devices that there can be: 32, behind a PCI Express port 1.
    package let deviceLimit: Int

    private let state: Mutex<State>

    package init(name: String, deviceLimit: Int = 32) {
        self.name = name
        self.deviceLimit = min(max(deviceLimit, 1), 32)
        number = PCIBusNumber()
        state = Mutex(State(functions: Array(repeating: nil, count: self.deviceLimit * PCIBus.functionCount)))
    }

    // MARK: Population

    /// Puts a function on the bus.
    ///
    /// - Throws: `PCIError` if the place does not exist, is taken, or the device's functions don't go together.
    package func insert(_ function: any PCIFunction, device: UInt8, function number: UInt8 = 0) throws(PCIError) {
        try state.withLock { state throws(PCIError) in
            guard device < deviceLimit, number < PCIBus.functionCount else {
                let place = "\(function.name): bus \(name) has no place \(device).\(number)"
                throw PCIError(deviceLimit == 1 ? place + "; it takes device 0 alone" : place)
            }
            let first = Int(device) * PCIBus.functionCount
            if let other = state.functions[first + Int(number)] {
                throw PCIError("\(function.name): place \(device).\(number) of bus \(name) is taken by \(other.name)")
            }
            if number != 0, let zero = state.functions[first], !zero.isMultifunction {
                throw PCIError("\(function.name): \(zero.name) at \(device).0 of bus \(name) needs multifunction=on")
            }
            let hasOthers = state.functions[(first + 1)..<(first + PCIBus.functionCount)].contains { $0 != nil }
            if number == 0, hasOthers, !function.isMultifunction {
                throw PCIError("\(function.name): at \(device).0 of bus \(name) it needs multifunction=on")
            }
            state.functions[first + Int(number)] = function
            if let bridge = function as? any PCIBridge { state.bridges.append(bridge) }
            if let connection = state.connection { attach(function, device, number, connection) }
        }
    }

    /// Takes a function off the bus; nil if there was none. It is detached, and goes on living.
    @discardableResult
    package func remove(device: UInt8, function number: UInt8 = 0) -> (any PCIFunction)? {
        state.withLock { state in
            guard device < deviceLimit, number < PCIBus.functionCount else { return nil }
            let index = Int(device) * PCIBus.functionCount + Int(number)
            guard let function = state.functions[index] else { return nil }
            state.functions[index] = nil
            state.bridges.removeAll { $0 === function }
            function.detach()
            return function
        }
    }

    /// Makes sure that each device has a function 0, without which the guest finds none of it.
    ///
    /// - Throws: `PCIError` naming the first function without.
    package func checkDevices() throws(PCIError) {
        for (device, number, function) in functions where number != 0 && self.function(device: device, function: 0) == nil {
            throw PCIError("\(function.name): device \(device) of bus \(name) has no function 0")
        }
    }

    /// The first device number without any function, or nil.
    ///
    /// - Parameter reserved: numbers that are not given away.
    package func freeDevice(besides reserved: Set<UInt8> = []) -> UInt8? {
        state.withLock { state in
            (0..<UInt8(deviceLimit)).first { device in
                let first = Int(device) * PCIBus.functionCount
                return !reserved.contains(device)
                    && state.functions[first..<(first + PCIBus.functionCount)].allSatisfy { $0 == nil }
            }
        }
    }

    // MARK: Looking up

    /// Whatever was inserted, by address; whether the guest finds it or not.
    package var functions: [(device: UInt8, function: UInt8, object: any PCIFunction)] {
        state.withLock { state in
            state.functions.enumerated().compactMap { index, function in
                function.map { (UInt8(index / PCIBus.functionCount), UInt8(index % PCIBus.functionCount), $0) }
            }
        }
    }

    /// The function at a place that the guest finds there.
    package func function(device: UInt8, function number: UInt8) -> (any PCIFunction)? {
        state.withLock { state in
            guard device < deviceLimit, number < PCIBus.functionCount else { return nil }
            let first = Int(device) * PCIBus.functionCount
            guard let zero = state.functions[first] else { return nil }
            guard number != 0 else { return zero }
            return zero.isMultifunction ? state.functions[first + Int(number)] : nil
        }
    }

    /// The bus with a number, this one or one below it.
    func bus(_ number: UInt8) -> PCIBus? {
        if number == self.number.value { return self }
        let bridges = state.withLock { $0.bridges }
        for bridge in bridges where bridge.busRange?.contains(number) == true {
            return bridge.secondaryBus.bus(number)
        }
        return nil
    }

    // MARK: Life cycle

    func connect(_ connection: Connection) {
        state.withLock { state in
            state.connection = connection
            for (index, function) in state.functions.enumerated() {
                guard let function else { continue }
                attach(
                    function, UInt8(index / PCIBus.functionCount), UInt8(index % PCIBus.functionCount), connection)
            }
        }
    }

    private func attach(_ function: any PCIFunction, _ device: UInt8, _ number: UInt8, _ connection: Connection) {
        function.attach(
            PCIAttachment(
                map: connection.map, scope: connection.scope, interrupts: connection.interrupts,
                interruptTurn: connection.interruptTurn, bus: self.number, device: device, function: number))
    }

    func disconnect() {
        state.withLock { state in
            state.connection = nil
            for function in state.functions { function?.detach() }
        }
    }

    package func reset() {
        for entry in functions { entry.object.reset() }
    }

    func pause() {
        for entry in functions { entry.object.pause() }
    }

    func resume() {
        for entry in functions { entry.object.resume() }
    }

    /// Takes all functions off and ends them.
    func shutDown() {
        for entry in functions {
            remove(device: entry.device, function: entry.function)
            entry.object.shutDown()
        }
    }
}
