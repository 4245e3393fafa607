internal import StratoHost

/// Lets writes of whole blocks pass side by side, and one that must read a block before it writes it back pass alone:
/// between its two steps no other may change the block's other sectors.
final class WriteGate: Sendable {
    private struct State {
        var sharers = 0
        /// Those among the sharers whose end somebody has to find.
        var entered = 0
        var isExclusive = false
        var waitingExclusively = 0
    }

    private let state = Monitor(State())

    func shared<Result>(_ body: () -> Result) -> Result {
        _ = state.wait { (state: inout State) -> Bool? in
            // Those who wait to be alone go first, or a stream of whole writes would keep them out.
            guard !state.isExclusive, state.waitingExclusively == 0 else { return nil }
            state.sharers += 1
            return true
        }
        defer { state.update { $0.sharers -= 1 } }
        return body()
    }

    /// Begins what `shared` does, without waiting; false if it can't begin now.
    func enterShared() -> Bool {
        state.update { state in
            guard !state.isExclusive, state.waitingExclusively == 0 else { return false }
            state.sharers += 1
            state.entered += 1
            return true
        }
    }

    /// Ends what `enterShared` began, on whatever thread.
    func leaveShared() {
        state.update { state in
            state.sharers -= 1
            state.entered -= 1
        }
    }

    /// Whether something that `enterShared` began has not ended. Whoever alone would find its end must not wait here.
    var isEnteredShared: Bool { state.read { $0.entered > 0 } }

    func exclusive<Result>(_ body: () -> Result) -> Result {
        state.update { $0.waitingExclusively += 1 }
        _ = state.wait { (state: inout State) -> Bool? in
            guard !state.isExclusive, state.sharers == 0 else { return nil }
            state.waitingExclusively -= 1
            state.isExclusive = true
            return true
        }
        defer { state.update { $0.isExclusive = false } }
        return body()
    }
}
