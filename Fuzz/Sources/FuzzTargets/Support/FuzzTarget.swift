/// One parser of outside data, and what must hold whatever it is given.
struct FuzzTarget: Sendable {
    /// What to fuzz, on the command line and as the name of the corpus.
    let name: String

    /// The longest input that is tried, in bytes.
    let maximumLength: Int

    /// Inputs to begin with, by name: what a well-behaved guest, client or user says.
    let seeds: @Sendable () -> [(name: String, bytes: [UInt8])]

    /// Feeds the parser. Returns whatever the input; a trap is a find.
    let run: @Sendable (inout FuzzInput) throws -> Void

    init(
        _ name: String, maximumLength: Int = 4096,
        seeds: @escaping @Sendable () -> [(name: String, bytes: [UInt8])] = { [] },
        run: @escaping @Sendable (inout FuzzInput) throws -> Void
    ) {
        self.name = name
        self.maximumLength = maximumLength
        self.seeds = seeds
        self.run = run
    }

    static let all: [FuzzTarget] =
        [
            .kernelImage, .gzip, .bootableDisk, .splitQueue, .blockRequests, .virtioMMIO, .virtioPCI, .pciConfiguration,
            .serial16550, .pl011, .i8042, .clocks, .powerManagement, .pflash, .firmwareConfiguration, .savedStates, .qmp, .json,
            .commandLine,
        ] + architectureTargets

    static func named(_ name: String) -> FuzzTarget? {
        (all + planted).first { $0.name == name }
    }
}

/// What must hold. The text names the broken promise in the report of a find.
func expect(_ condition: Bool, _ promise: @autoclosure () -> String) {
    guard !condition else { return }
    fatalError("broken promise: \(promise())")
}

/// What must not throw. The text names the broken promise.
func always<Value>(_ promise: @autoclosure () -> String, _ body: () throws -> Value) -> Value {
    do {
        return try body()
    } catch {
        fatalError("broken promise: \(promise()): \(error)")
    }
}

/// What a saved state is after it was written down and read back: the same.
func readBack<State: Equatable>(_ state: State, _ decode: (State) throws -> State) -> State {
    let restored = always("a saved state is read back") { try decode(state) }
    expect(restored == state, "a saved state is read back as it was")
    return restored
}
