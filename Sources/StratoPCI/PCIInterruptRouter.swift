package import StratoMemory
internal import Synchronization

/// The four lines that the INTx pins of all functions share (PCI Local Bus 3.0, 2.2.6).
///
/// Pin A of device 0 is on the first line, and each device further and each pin further is one line further (PCI Express
/// Base 4.0, 2.2.8.1, table 2-20). A line is asserted as long as any pin on it is.
package final class PCIInterruptRouter: Sendable {
    package static let lineCount = 4

    private let lines: [any InterruptLine]
    private let assertions: Mutex<[Int]>

    /// - Parameter lines: level-triggered, four of them.
    /// - Throws: `PCIError` if there are more or fewer.
    package init(_ lines: [any InterruptLine]) throws(PCIError) {
        guard lines.count == PCIInterruptRouter.lineCount else {
            throw PCIError("INTx needs \(PCIInterruptRouter.lineCount) lines, not \(lines.count)")
        }
        self.lines = lines
        assertions = Mutex(Array(repeating: 0, count: lines.count))
    }

    /// The line of a pin.
    ///
    /// - Parameters:
    ///   - pin: 1...4 for A...D.
    ///   - device: the function's device number, to which those of the bridges above are added.
    package static func line(pin: UInt8, device: Int) -> Int {
        (device &+ Int(pin) &- 1) & (lineCount - 1)
    }

    fileprivate func change(_ line: Int, isAsserted: Bool) {
        guard lines.indices.contains(line) else { return }
        // The level is set under the lock, so that the last one to be set is the one that holds.
        assertions.withLock { assertions in
            let before = assertions[line]
            assertions[line] = isAsserted ? before &+ 1 : max(0, before &- 1)
            guard (before > 0) != (assertions[line] > 0) else { return }
            lines[line].setLevel(isAsserted)
        }
    }
}

/// One function's INTx pin. May be used from any thread; takes no lock but its own and the router's.
package final class PCIInterruptPin: Sendable {
    private struct State {
        var isPending = false
        var isDisabled = false
        var router: PCIInterruptRouter?
        var line = 0
        var isAsserted = false
    }

    /// 1...4 for A...D, as the register says; 0 for a function without one.
    package let number: UInt8

    private let state = Mutex(State())

    /// - Parameter number: as above; what is larger is none.
    package init(_ number: UInt8) {
        self.number = number <= 4 ? number : 0
    }

    /// Whether the function has an interrupt to report, which the status register says even while the pin is disabled.
    package var isPending: Bool { state.withLock { $0.isPending } }

    /// The function has an interrupt to report, or none any more.
    package func setPending(_ isPending: Bool) {
        state.withLock { state in
            state.isPending = isPending
            update(&state)
        }
    }

    /// A pin is disabled by the command register, and by MSI-X in its place.
    func setDisabled(_ isDisabled: Bool) {
        state.withLock { state in
            state.isDisabled = isDisabled
            update(&state)
        }
    }

    func connect(to router: PCIInterruptRouter?, device: Int) {
        state.withLock { state in
            release(&state)
            state.router = number == 0 ? nil : router
            state.line = PCIInterruptRouter.line(pin: number, device: device)
            update(&state)
        }
    }

    func disconnect() {
        state.withLock { state in
            release(&state)
            state.router = nil
        }
    }

    private func update(_ state: inout State) {
        let isAsserted = state.isPending && !state.isDisabled
        guard let router = state.router, isAsserted != state.isAsserted else { return }
        state.isAsserted = isAsserted
        router.change(state.line, isAsserted: isAsserted)
    }

    private func release(_ state: inout State) {
        guard state.isAsserted else { return }
        state.isAsserted = false
        state.router?.change(state.line, isAsserted: false)
    }
}
